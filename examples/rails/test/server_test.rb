# frozen_string_literal: true

require_relative "test_helper"

# The app as a server of its own, over real sockets; what Rust's end-to-end suite drives as well.
class ServerTest < ActiveSupport::TestCase
  setup do
    WebMock.allow_net_connect!
    @folder = Dir.mktmpdir
    certificate = File.join(@folder, "sns.pem")
    File.write(certificate, SnsTopic::CERTIFICATE.to_pem)
    environment = { "DUMMY_DATABASE" => File.join(@folder, "server.sqlite3"), "SNS_TEST_CERTIFICATE" => certificate }
    @output = IO.popen([environment, File.join(__dir__, "dummy/bin/serve"), "0", { err: %i[child out] }])
    lines = []
    address = nil
    address = (lines << @output.gets).last or flunk("no server: #{lines.join}") until address =~ /Listening on (\S+)/
    @server = URI(address[/http\S+/])
  end

  teardown do
    Process.kill("TERM", @output.pid)
    @output.close
    FileUtils.remove_entry(@folder)
    WebMock.disable_net_connect!
  end

  test "every finding over the wire, and a body in chunks" do
    FINDINGS.reject { |finding| finding["body"]["key"].blank? }.uniq { |finding| finding["body"]["key"] }.each do |finding|
      at = "/blob?#{{ key: finding["body"]["key"] }.to_query}"
      assert_equal "503", deliver(finding)
      assert_equal "201", Net::HTTP.post(@server + at, "").code
      assert_equal "waiting", blob(at)["state"]
      assert_equal "403", file(at).code

      assert_equal "200", deliver(finding)
      assert_equal finding["body"]["status"].sub(/\Ano\z/, "no_scan"), blob(at)["status"]
      assert_equal finding["body"]["status"] == "clean" ? "302" : "403", file(at).code
    end

    Net::HTTP.start(@server.host, @server.port) do |http|
      request = Net::HTTP::Post.new("/virus_scan_findings", "Content-Type" => "text/plain", "Transfer-Encoding" => "chunked")
      request.body_stream = StringIO.new("x" * 300_000)
      assert_equal "413", http.request(request).code
    end
  end

  private

  def deliver(finding)
    message = SnsTopic.notification(finding["text"] || finding["body"].to_json, attributes: finding["attributes"])
    Net::HTTP.post(@server + "/virus_scan_findings", message.to_json, "Content-Type" => "text/plain; charset=UTF-8").code
  end

  def blob(at)
    JSON.parse(Net::HTTP.get(@server + at))
  end

  def file(at)
    Net::HTTP.get_response(@server + blob(at)["path"])
  end
end
