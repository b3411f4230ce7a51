# frozen_string_literal: true

require_relative "test_helper"

# The two messages that carry a token and a URL.
class ConfirmationTest < ActionDispatch::IntegrationTest
  URL = SnsTopic.confirmation["SubscribeURL"]

  setup { @visit = stub_request(:get, URL).to_return(body: "<ConfirmSubscriptionResponse/>") }

  # Whatever happens, the token is a secret: who has it can subscribe in the app's name.
  teardown { assert_no_match(/#{SnsTopic::TOKEN}/, LOG.string) }

  test "a subscription to a topic of ours is confirmed" do
    deliver SnsTopic.confirmation
    assert_response :ok
    assert_requested @visit, times: 1
  end

  test "in China at .com.cn, and nowhere else" do
    url = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-1.pem"
    serves url, SnsTopic::CERTIFICATE.to_pem
    deliver SnsTopic.confirmation(topic: SECOND_TOPIC, SigningCertURL: url) # SubscribeURL at .com
    assert_response 403

    visit = URL.sub("us-east-1.amazonaws.com", "cn-north-1.amazonaws.com.cn")
    stub = stub_request(:get, visit)
    deliver SnsTopic.confirmation(topic: SECOND_TOPIC, SigningCertURL: url, SubscribeURL: visit)
    assert_response :ok
    assert_requested stub
  end

  test "a subscription to another topic is not" do
    deliver SnsTopic.confirmation(TopicArn: "arn:aws:sns:us-east-1:999999999999:findings")
    assert_response 403
    assert_not_requested @visit
  end

  test "nor one that is not signed" do
    deliver SnsTopic.confirmation.merge("Message" => "You have chosen")
    assert_response 403
    assert_not_requested @visit
  end

  test "nor one that is old" do
    deliver SnsTopic.confirmation(Timestamp: 2.hours.ago.iso8601(3))
    assert_response 403
    assert_not_requested @visit
  end

  {
    "another host" => "https://evil.com/?Token=#{SnsTopic::TOKEN}",
    "a longer name" => URL.sub(".com/", ".com.evil.com/"),
    "China's name" => URL.sub(".com/", ".com.cn/"),
    "a user name" => URL.sub("https://", "https://user@"),
    "the host as a user name" => URL.sub(".com/", ".com@evil.com/"),
    "SNS's in its query" => "https://evil.com/?#{URL}",
    "a port" => URL.sub(".com/", ".com:8443/"),
    "upper case" => URL.sub("sns.", "SNS."),
    "another region" => URL.sub("us-east-1", "eu-west-1"),
    "somebody's bucket" => URL.sub("sns.us-east-1", "sns.s3-us-east-1"),
    "http" => URL.sub("https", "http"),
    "a file" => "file:///etc/passwd",
    "a blank before" => " #{URL}",
    "a line before" => "https://evil.com/\n#{URL}",
    "a backslash" => URL.sub("https://", "https://evil.com\\@"),
    "nothing" => nil
  }.each do |what, url|
    test "a SubscribeURL with #{what} is not visited" do
      everything = stub_request(:get, ->(uri) { uri.path != URI(SnsTopic::CERTIFICATE_URL).path })
      deliver SnsTopic.confirmation(SubscribeURL: url)
      assert_response 403
      assert_not_requested everything
    end
  end

  test "a redirect is not followed" do
    stub_request(:get, URL).to_return(status: 302, headers: { "Location" => "https://evil.com/" })
    evil = stub_request(:get, "https://evil.com/")
    deliver SnsTopic.confirmation
    assert_response 503
    assert_not_requested evil
  end

  test "when SNS does not take the confirmation, it shall send it again" do
    stub_request(:get, URL).to_return(status: 500)
    deliver SnsTopic.confirmation
    assert_response 503
  end

  test "when SNS cannot be reached either" do
    stub_request(:get, URL).to_timeout
    deliver SnsTopic.confirmation
    assert_response 500
  end

  test "a URL that is none, in a message whose signature is good" do
    deliver SnsTopic.confirmation(SubscribeURL: "#{URL}&ä")
    assert_response 403
    assert_not_requested @visit
  end

  test "a time that took in the token, where the signature allows it" do
    message = SnsTopic.confirmation
    message["Timestamp"] = "#{message["Timestamp"]}\nToken\n#{message.delete("Token")}"
    deliver message
    assert_response 403
  end

  test "an id that took in the URL and the time" do
    message = SnsTopic.confirmation
    message["MessageId"] += "\nSubscribeURL\n#{message.delete("SubscribeURL")}\nTimestamp\n#{message.delete("Timestamp")}"
    deliver message
    assert_response 403
    assert_match(/message "f3f2fc87-c426-4c2f-9044-b55890c0939c" has no time/, LOG.string)
  end

  test "an UnsubscribeConfirmation is acknowledged and its URL, which would subscribe again, not visited" do
    deliver SnsTopic.confirmation(Type: "UnsubscribeConfirmation")
    assert_response :ok
    assert_not_requested @visit
  end

  test "the type is the signed one, not that of the header" do
    post "/virus_scan_findings", params: SnsTopic.confirmation(Type: "UnsubscribeConfirmation").to_json,
      headers: { "CONTENT_TYPE" => "text/plain", "HTTP_X_AMZ_SNS_MESSAGE_TYPE" => "SubscriptionConfirmation" }
    assert_response :ok
    assert_not_requested @visit
  end

  test "a type that is not known is acknowledged" do
    deliver SnsTopic.confirmation(Type: "Other")
    assert_response :ok
    assert_not_requested @visit
  end

  test "as application/json, where Rails logs what it takes for parameters" do
    deliver SnsTopic.confirmation, type: "application/json"
    assert_response :ok
    assert_requested @visit
    assert_match(/"Token"=>"\[FILTERED\]"/, LOG.string)
  end
end
