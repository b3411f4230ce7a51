# frozen_string_literal: true

require_relative "test_helper"

# The stand-in for the gem: takes what AWS signed, and what the gem does not take it does not take.
class VerifierTest < ActiveSupport::TestCase
  SNS = VECTORS.join("sns")
  GENUINE = %w[notification-v1 notification-v1-subject notification-v2 notification-v1-lambda-2022
               subscription-confirmation-v1 unsubscribe-confirmation-v2].freeze

  # Each certificate is at its own address and nowhere else.
  setup do
    stub_request(:any, /.*/).to_return(status: 404)
    { "notification-v2" => "sns-2025.pem", "notification-v1-lambda-2022" => "sns-2021.pem" }.each do |name, pem|
      message = JSON.parse(SNS.join("#{name}.json").read)
      serves message["SigningCertURL"] || message["SigningCertUrl"], SNS.join(pem).read
    end
    @verifier = Aws::SNS::MessageVerifier.new
  end

  GENUINE.each do |name|
    test "AWS signed #{name}" do
      assert @verifier.authentic?(SNS.join("#{name}.json").read)
    end
  end

  test "no file of genuine messages is left out" do
    assert_equal GENUINE.sort, SNS.glob("*.json").map { |file| file.basename(".json").to_s }.sort - ["forgeries"]
  end

  JSON.parse(SNS.join("forgeries.json").read).each do |forgery|
    test "forgery #{forgery["name"]}: #{forgery["gem"]}" do
      message = JSON.parse(SNS.join(forgery["base"]).read).merge(forgery["set"] || {}).except(*forgery["remove"])
      assert_equal forgery["gem"], outcome(message.to_json), forgery["why"]
    end
  end

  ["", "{", "null", "[]", "\"text\"", "1"].each do |body|
    test "not a message: #{body.inspect}" do
      assert_equal "raises", outcome(body)
    end
  end

  %w[1 2].each do |version|
    test "the tests' own signature, version #{version}" do
      serves SnsTopic::CERTIFICATE_URL, SnsTopic::CERTIFICATE.to_pem
      assert_equal "authentic", outcome(SnsTopic.notification("text", version: version).to_json)
      assert_equal "authentic", outcome(SnsTopic.confirmation(version: version).to_json)
      assert_equal "refused", outcome(SnsTopic.notification("text", version: version).merge("Message" => "other").to_json)
    end
  end

  test "a certificate is fetched once" do
    certificate = serves(SnsTopic::CERTIFICATE_URL, SnsTopic::CERTIFICATE.to_pem)
    2.times { assert @verifier.authentic?(SnsTopic.notification("text").to_json) }
    assert_requested certificate, times: 1
  end

  test "a certificate that does not come is asked for three times, and the error has a cause" do
    certificate = stub_request(:get, SnsTopic::CERTIFICATE_URL).to_timeout
    error = assert_raises(Aws::SNS::MessageVerifier::VerificationError) { @verifier.authenticate!(SnsTopic.notification("text").to_json) }
    assert_instance_of Net::OpenTimeout, error.cause
    assert_requested certificate, times: 3
  end

  test "what is there is no certificate" do
    serves SnsTopic::CERTIFICATE_URL, "<html></html>"
    assert_equal "refused", outcome(SnsTopic.notification("text").to_json)
  end

  private

  def outcome(body)
    @verifier.authentic?(body) ? "authentic" : "refused"
  rescue StandardError
    "raises"
  end
end
