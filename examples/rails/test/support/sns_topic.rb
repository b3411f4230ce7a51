# frozen_string_literal: true

# The findings topic as the app sees it: messages in the form in which SNS posts them, signed with a
# key and certificate of the tests' own.
class SnsTopic
  ARN = "arn:aws:sns:us-east-1:123456789012:s3-virusscan-FindingsTopic"
  CERTIFICATE_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
  TOKEN = "2336412f37fb687f5d51e6e2425c464de59e7ac5b5c04c5b"
  KEY = OpenSSL::PKey::RSA.new(2048)
  CERTIFICATE = OpenSSL::X509::Certificate.new.tap do |certificate|
    certificate.subject = certificate.issuer = OpenSSL::X509::Name.parse("CN=sns.amazonaws.com")
    certificate.public_key = KEY
    certificate.not_before = Time.at(0)
    certificate.not_after = Time.at(2**31)
    certificate.serial = 1
    certificate.sign(KEY, "SHA256")
  end

  # A notification; `fields` replace or, if nil, remove what is usual.
  def self.notification(text, attributes: nil, version: "2", **fields)
    message = {
      "Type" => "Notification", "MessageId" => "9d2c5580-b61d-550c-8583-37a582870907", "TopicArn" => ARN,
      "Subject" => "s3-virusscan s3://uploads", "Message" => text, "Timestamp" => Time.current.iso8601(3),
      "UnsubscribeURL" => "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=#{ARN}:1",
      "MessageAttributes" => attributes && attributes.transform_values { |value| { "Type" => "String", "Value" => value } }
    }
    sign(message.merge(fields.transform_keys(&:to_s)).compact, version)
  end

  # A SubscriptionConfirmation, or with Type: an UnsubscribeConfirmation, which has the same fields.
  def self.confirmation(version: "2", topic: ARN, **fields)
    message = {
      "Type" => "SubscriptionConfirmation", "MessageId" => "f3f2fc87-c426-4c2f-9044-b55890c0939c", "Token" => TOKEN,
      "TopicArn" => topic, "Timestamp" => Time.current.iso8601(3),
      "Message" => "You have chosen to subscribe to the topic #{topic}.\nTo confirm the subscription, visit the SubscribeURL included in this message.",
      "SubscribeURL" => "https://sns.#{topic.split(":")[3]}.amazonaws.com/?Action=ConfirmSubscription&TopicArn=#{topic}&Token=#{TOKEN}"
    }
    sign(message.merge(fields.transform_keys(&:to_s)).compact, version)
  end

  # The text that is signed is written down here from SNS's developer guide, not taken from the
  # verifier: of a notification these five and the subject if there is one, of the others these seven.
  def self.sign(message, version)
    names = %w[Message MessageId SubscribeURL Timestamp Token TopicArn Type]
    names = %w[Message MessageId Subject Timestamp TopicArn Type] if message["Type"] == "Notification"
    text = names.select { |name| message.key?(name) }.map { |name| "#{name}\n#{message[name]}\n" }.join
    signature = KEY.sign({ "1" => "SHA1", "2" => "SHA256" }.fetch(version), text)
    { "SignatureVersion" => version, "Signature" => Base64.strict_encode64(signature), "SigningCertURL" => CERTIFICATE_URL }.merge(message)
  end
end
