# frozen_string_literal: true

require_relative "test_helper"

# What SNS, or somebody who says so, posts to the app: what is believed, and what is answered.
class VirusScanFindingsTest < ActionDispatch::IntegrationTest
  setup { @blob = blob! }

  # Findings

  %w[1 2].each do |version|
    { "clean" => "clean", "infected" => "infected", "no" => "no_scan" }.each do |word, expected|
      test "#{word}, signature version #{version}" do
        at = Time.current.floor(3)
        deliver_finding word, version: version, Timestamp: at.iso8601(3)
        assert_response :ok
        assert_equal expected, status(@blob)
        assert_equal at, @blob.reload.virus_scanned_at
      end
    end
  end

  # (Active Storage replaces a key of blanks alone by one of its own, so no blob has such a key.)
  FINDINGS.reject { |finding| finding["body"]["key"].blank? }.each do |finding|
    test "#{finding["name"]} in both formats" do
      [finding["text"], finding["body"].to_json].compact.each do |text|
        ActiveStorage::Blob.where(key: finding["body"]["key"]).delete_all
        blob = blob!(key: finding["body"]["key"])
        deliver SnsTopic.notification(text, attributes: finding["attributes"])
        assert_response :ok
        assert_equal({ "no" => "no_scan" }.fetch(finding["body"]["status"], finding["body"]["status"]), status(blob))
        assert_equal finding["body"].fetch("version", ""), blob.reload.virus_scan_version
        assert_not_nil blob.virus_scanned_at
      end
    end
  end

  test "the JSON format brings the reason" do
    deliver SnsTopic.notification(finding("no")["body"].to_json)
    assert_equal "encrypted", @blob.reload.virus_scan_reason
    assert_equal "unscannable", @blob.virus_scan_state
  end

  test "a finding without attributes is one all the same, since they count for nothing" do
    deliver SnsTopic.notification(finding("clean")["text"])
    assert_response :ok
    assert_equal "clean", status(@blob)
  end

  # Who sent it

  test "a message that is not signed by SNS changes nothing" do
    message = SnsTopic.notification(finding("infected")["text"]).merge("Message" => finding("clean")["text"])
    deliver message
    assert_refused 403, @blob
  end

  test "a subject that was changed" do
    deliver SnsTopic.notification(finding("clean")["text"]).merge("Subject" => "other")
    assert_refused 403, @blob
  end

  test "a topic that is not ours, though signed by SNS" do
    deliver SnsTopic.notification(finding("clean")["text"], TopicArn: "#{SnsTopic::ARN}2")
    assert_refused 403, @blob
  end

  test "without a list of topics none is ours" do
    load_initializer "FINDINGS_TOPIC_ARNS" => nil do
      deliver SnsTopic.notification(finding("clean")["text"])
      assert_refused 403, @blob
    end
  end

  test "a certificate from a host that the gem takes for SNS" do
    url = "https://sns.s3-us-east-1.amazonaws.com/a.pem" # the bucket of somebody who called it sns
    bucket = serves(url, SnsTopic::CERTIFICATE.to_pem)
    deliver SnsTopic.notification(finding("clean")["text"], SigningCertURL: url)
    assert_requested bucket
    assert_refused 403, @blob
    deliver SnsTopic.notification(finding("clean")["text"], SigningCertUrl: url) # beside the genuine one
    assert_refused 403, @blob
  end

  test "a certificate from SNS in another region" do
    url = SnsTopic::CERTIFICATE_URL.sub("us-east-1", "eu-west-1")
    serves url, SnsTopic::CERTIFICATE.to_pem
    deliver SnsTopic.notification(finding("clean")["text"], SigningCertURL: url)
    assert_refused 403, @blob
  end

  test "a topic in China has its certificate at .com.cn" do
    url = SnsTopic::CERTIFICATE_URL.sub("us-east-1.amazonaws.com", "cn-north-1.amazonaws.com.cn")
    serves url, SnsTopic::CERTIFICATE.to_pem
    deliver SnsTopic.notification(finding("clean")["text"], TopicArn: SECOND_TOPIC, SigningCertURL: url)
    assert_response :ok
    assert_equal "clean", status(@blob)
  end

  test "a certificate that cannot be fetched: SNS shall try again" do
    url = SnsTopic::CERTIFICATE_URL.sub("SimpleNotificationService-", "New-")
    stub_request(:get, url).to_timeout
    deliver SnsTopic.notification(finding("clean")["text"], SigningCertURL: url)
    assert_refused 503, @blob
  end

  # How old it is

  test "an hour of tries and five minutes for clocks, and no longer" do
    deliver_finding "clean", Timestamp: 66.minutes.ago.iso8601(3)
    assert_refused 403, @blob
    deliver_finding "clean", Timestamp: 64.minutes.ago.iso8601(3)
    assert_response :ok
    assert_equal "clean", status(@blob)
  end

  test "a genuine message of AWS is believed at its time, and not again later" do
    serves "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem", VECTORS.join("sns/sns-2025.pem").read
    message = VECTORS.join("sns/notification-v2.json").read
    travel_to(Time.utc(2026, 3, 6, 20, 30)) { deliver message }
    assert_response :ok
    travel_to(Time.utc(2026, 3, 6, 21, 30)) { deliver message }
    assert_response 403
  end

  test "a message whose time hides in another field, where the signature allows it" do
    message = SnsTopic.notification(finding("clean")["text"])
    message["Subject"] = "#{message["Subject"]}\nTimestamp\n#{message.delete("Timestamp")}"
    deliver message
    assert_refused 403, @blob
  end

  [["2026-13-45T00:00:00Z"], 5, "yesterday", nil].each do |time|
    test "a time that is none: #{time.inspect}" do
      # The real verifier refuses some of these before; whatever it lets pass must not raise here.
      taking_everything_for_signed { deliver SnsTopic.notification(finding("clean")["text"]).merge("Timestamp" => time) }
      assert_refused 403, @blob
    end
  end

  # What the attributes say

  { "status" => "clean", "key" => "another", "bucket" => "another", "version" => "v1", "action" => "delete" }.each do |name, value|
    test "an attribute #{name} that is not what was signed" do
      signed = finding("infected")
      deliver SnsTopic.notification(signed["text"], attributes: signed["attributes"].merge(name => value))
      assert_refused 422, @blob
    end
  end

  test "a genuine message replayed with the attributes of another" do
    other = blob!(key: "another")
    message = SnsTopic.notification(finding("clean")["text"], attributes: finding("clean")["attributes"])
    message["MessageAttributes"]["key"]["Value"] = "another"
    deliver message
    assert_refused 422, other
    assert_refused 422, @blob
  end

  test "attributes of any form" do
    deliver SnsTopic.notification(finding("clean")["text"], MessageAttributes: [1, nil])
    assert_refused 422, @blob
  end

  # What is not a finding of ours

  test "a CloudWatch alarm is acknowledged" do
    alarm = {
      "AlarmName" => "ScanQueueDLQAlarm", "AlarmDescription" => "Dead letters", "AWSAccountId" => "123456789012",
      "AlarmConfigurationUpdatedTimestamp" => "2026-03-06T19:53:21.424+0000", "NewStateValue" => "ALARM",
      "NewStateReason" => "Threshold Crossed: 1 out of the last 1 datapoints [1.0 (06/03/26 19:53:00)] was greater than the threshold (0.0).",
      "StateChangeTime" => "2026-03-06T19:54:21.424+0000", "Region" => "US East (N. Virginia)",
      "AlarmArn" => "arn:aws:cloudwatch:us-east-1:123456789012:alarm:ScanQueueDLQAlarm", "OldStateValue" => "OK",
      "OKActions" => [], "AlarmActions" => [SnsTopic::ARN], "InsufficientDataActions" => [],
      "Trigger" => {
        "MetricName" => "ApproximateNumberOfMessagesVisible", "Namespace" => "AWS/SQS", "StatisticType" => "Statistic",
        "Statistic" => "SUM", "Unit" => nil, "Dimensions" => [{ "value" => "ScanQueueDLQ", "name" => "QueueName" }],
        "Period" => 60, "EvaluationPeriods" => 1, "ComparisonOperator" => "GreaterThanThreshold", "Threshold" => 0.0
      }
    }
    deliver SnsTopic.notification(alarm.to_json, Subject: 'ALARM: "ScanQueueDLQAlarm" in US East (N. Virginia)')
    assert_refused 200, @blob
    assert_match(/no finding: "ALARM: \\"ScanQueueDLQAlarm/, LOG.string)
  end

  test "another publisher's message is acknowledged" do
    deliver SnsTopic.notification("Hello", Subject: nil)
    assert_refused 200, @blob
  end

  test "a finding whose text took in another field, where the signature allows it" do
    message = SnsTopic.notification(finding("clean")["text"])
    message["Message"] += "\nMessageId\n#{message.delete("MessageId")}"
    deliver message
    assert_refused 200, @blob
  end

  test "raw delivery is refused, and the log says what to do" do
    finding("clean").values_at("text").push(finding("clean")["body"].to_json).each do |raw|
      post "/virus_scan_findings", params: raw, headers: { "CONTENT_TYPE" => "text/plain; charset=UTF-8", "HTTP_X_AMZ_SNS_RAWDELIVERY" => "true" }
      assert_refused 403, @blob
      assert_match(/is raw message delivery switched on\?/, LOG.string)
    end
  end

  ["", "null", "[]", "{}", "\"text\"", "\xff\xfe", "{\"Type\":", "[" * 200].each do |body|
    test "no message at all: #{body.first(10).inspect}" do
      deliver body
      assert_refused 403, @blob
    end
  end

  test "a body above 256 KiB is not looked at" do
    text = finding("clean")["body"].merge("padding" => "x" * 256.kilobytes).to_json
    deliver SnsTopic.notification(text)
    assert_refused 413, @blob
    deliver SnsTopic.notification(finding("clean")["body"].merge("padding" => "x" * 250.kilobytes).to_json)
    assert_response :ok
    assert_equal "clean", status(@blob)
  end

  # Which blob

  test "a key that is not known yet: SNS shall try again, and then it is" do
    @blob.destroy
    deliver_finding "clean"
    assert_response 503
    blob = blob!
    deliver_finding "clean"
    assert_response :ok
    assert_equal "clean", status(blob)
  end

  test "a bucket that is not the app's" do
    foreign = finding("clean")["text"].sub("uploads", "other")
    deliver SnsTopic.notification(foreign)
    assert_refused 200, @blob
    @blob.destroy
    deliver SnsTopic.notification(foreign)
    assert_response :ok
  end

  test "another bucket of the app" do
    deliver SnsTopic.notification(finding("clean")["text"].sub("uploads", "second"))
    assert_refused 200, @blob
    deliver SnsTopic.notification(finding("clean")["text"].sub(%r{uploads/\w+}, "second/unknown"))
    assert_response 503
    second = blob!(key: "unknown", service: "second")
    deliver SnsTopic.notification(finding("clean")["text"].sub(%r{uploads/\w+}, "second/unknown"))
    assert_equal "clean", status(second)
  end

  test "a mirrored service is scanned in its primary bucket" do
    @blob.update!(service_name: "mirrored")
    deliver SnsTopic.notification(finding("infected")["text"].sub("uploads", "second"))
    assert_refused 200, @blob
    deliver_finding "clean"
    assert_equal "clean", status(@blob)
  end

  test "a service without a bucket" do
    @blob.update!(service_name: "disk")
    deliver_finding "clean"
    assert_refused 200, @blob
  end

  test "a variant without a row of its own" do
    deliver SnsTopic.notification("s3://uploads/variants/#{KEY}/0123456789abcdef  is clean, no action executed")
    assert_refused 200, @blob
  end

  test "it works with CSRF protection switched on, and asks for no session" do
    assert ActionController::Base.allow_forgery_protection
    deliver_finding "clean"
    assert_response :ok
    assert_nil response.headers["Set-Cookie"]
  end

  private

  # Sets the environment and runs config/initializers/virus_scan.rb's settings anew.
  def load_initializer(environment)
    settings = Rails.configuration.x.virus_scan
    before = settings.topic_arns
    arns = ENV["FINDINGS_TOPIC_ARNS"]
    environment.each { |name, value| ENV[name] = value }
    source = File.read(File.join(Dummy::EXAMPLE, "config/initializers/virus_scan.rb"))
    eval(source[/^Rails\.application\.config\.x.*?^end$/m]) # its other lines are for the start only
    yield
  ensure
    ENV["FINDINGS_TOPIC_ARNS"] = arns
    settings.topic_arns = before
  end

  def taking_everything_for_signed(&block)
    Rails.configuration.x.virus_scan.verifier.stub(:authenticate!, true, &block)
  end
end
