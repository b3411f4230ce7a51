# frozen_string_literal: true

require "stringio"
require "tmpdir"

folder = Dir.mktmpdir
Minitest.after_run { FileUtils.remove_entry(folder) } if require "minitest"
ENV["DUMMY_DATABASE"] = File.join(folder, "test.sqlite3")
ENV.delete("SNS_TEST_CERTIFICATE")
SECOND_TOPIC = "arn:aws-cn:sns:cn-north-1:123456789012:findings"
AWS_TOPIC = "arn:aws:sns:us-west-2:131990247566:dongie-standard-topic" # of tests/vectors/sns
ENV["FINDINGS_TOPIC_ARNS"] = "arn:aws:sns:us-east-1:123456789012:s3-virusscan-FindingsTopic, #{SECOND_TOPIC},#{AWS_TOPIC}"

LOG = StringIO.new
require_relative "dummy/config/application"
Dummy.config.logger = ActiveSupport::Logger.new(LOG)
require_relative "dummy/config/environment"
require "rails/test_help"
require "minitest/mock"
require "webmock/minitest"
require_relative "support/sns_topic"

VECTORS = Pathname(File.expand_path("../../../tests/vectors", __dir__))
FINDINGS = JSON.parse(VECTORS.join("findings.json").read)

class ActiveSupport::TestCase
  KEY = "xtapjjcjiudrlk3tmwyjgpuobabd" # of tests/vectors/findings.json

  def blob!(key: KEY, service: "uploads", filename: "file.txt", **columns)
    ActiveStorage::Blob.create!(key: key, service_name: service, filename: filename, content_type: "text/plain", byte_size: 4, checksum: "", identified: true, **columns)
  end

  def finding(name)
    FINDINGS.find { |finding| finding["name"] == name } or flunk("no finding #{name}")
  end

  # What is in force for the blob now.
  def status(blob)
    ActiveStorage::Blob.find(blob.id).virus_scan_status
  end

  def serves(url, pem)
    stub_request(:get, url).to_return(body: pem)
  end
end

class ActionDispatch::IntegrationTest
  setup do
    serves SnsTopic::CERTIFICATE_URL, SnsTopic::CERTIFICATE.to_pem
    LOG.truncate(LOG.rewind)
  end

  # Posts as SNS does: text/plain, and a type in a header.
  def deliver(message, type: "text/plain; charset=UTF-8")
    body = message.is_a?(String) ? message : message.to_json
    post "/virus_scan_findings", params: body, headers: { "CONTENT_TYPE" => type, "HTTP_X_AMZ_SNS_MESSAGE_TYPE" => "Notification" }
  end

  # Posts a finding of tests/vectors/findings.json in the text format.
  def deliver_finding(name, **fields)
    deliver SnsTopic.notification(text(finding(name)), attributes: finding(name)["attributes"], **fields)
  end

  def text(finding)
    finding["text"] || finding["body"].to_json
  end

  # Says what was raised, where Rails answered 500 for it.
  def assert_response(expected, message = nil)
    error = request&.get_header("action_dispatch.exception")
    super(expected, message || error&.full_message(highlight: false)&.lines&.first(8)&.join)
  end

  # The answer, and that nothing happened to the blob.
  def assert_refused(status, blob)
    assert_response status
    assert_equal "no_scan", status(blob)
    assert_nil blob.reload.virus_scanned_at
  end
end
