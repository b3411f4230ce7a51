# frozen_string_literal: true

# Where SNS posts the findings of s3-virusscan.
#
# ActionController::API: SNS has no session, no login and no CSRF token; its signature stands for
# all three. What is refused is an exception, so that nothing after it can run.
#
# What SNS does with an answer: 5xx is tried again, for an hour at most; everything else is final.
class VirusScanFindingsController < ActionController::API
  # SNS's limit for a message. A finding has some hundred bytes.
  MAX_BODY = 256.kilobytes

  # SNS tries for 3,600 seconds; what is older is not a delivery any more.
  MAX_AGE = 65.minutes

  # An answer that ends the request. The reason is for the log and never holds what was sent.
  class Refused < StandardError
    attr_reader :status

    def initialize(status, reason)
      @status = status
      super(reason)
    end
  end

  rescue_from(Refused) do |refused|
    logger.warn "virus scan: answered #{refused.status}: #{refused.message}"
    head refused.status
  end

  def create
    message = verified(body)
    case message["Type"] # signed, unlike the header x-amz-sns-message-type
    when "Notification" then receive(message)
    when "SubscriptionConfirmation" then confirm(message)
    else acknowledge "a message of type #{message["Type"].inspect}" # also an UnsubscribeConfirmation, whose URL would subscribe again
    end
  end

  private

  def body
    request.body.read(MAX_BODY + 1).to_s.tap do |body|
      raise Refused.new(413, "more than #{MAX_BODY} bytes") if body.bytesize > MAX_BODY
    end
  end

  # The message, if AWS signed it, for a topic of ours, within the last hour.
  def verified(body)
    authenticate(body)
    message = JSON.parse(body)
    unless settings.topic_arns.include?(message["TopicArn"]) # any AWS account can have SNS sign
      raise Refused.new(403, "topic #{message["TopicArn"].inspect} is not in FINDINGS_TOPIC_ARNS")
    end
    unless from_sns?(message["SigningCertUrl"] || message["SigningCertURL"], message["TopicArn"])
      raise Refused.new(403, "the certificate is not from SNS in the region of #{message["TopicArn"].inspect}")
    end
    if published_at(message) < MAX_AGE.ago
      raise Refused.new(403, "message #{id(message)} is older than #{MAX_AGE.inspect}")
    end
    message
  end

  def authenticate(body)
    settings.verifier.authenticate!(body)
  rescue Aws::SNS::MessageVerifier::VerificationError => error
    # With a cause it is the certificate that could not be fetched, and the next try may have it.
    raise Refused.new(error.cause ? 503 : 403, error.cause ? "no certificate from SNS" : "not signed by SNS")
  rescue StandardError => error # the verifier lets others pass: no JSON, no SigningCertURL, ...
    raise Refused.new(403, "not a message of SNS (#{error.class}); is raw message delivery switched on?")
  end

  def published_at(message)
    Time.iso8601(message["Timestamp"])
  rescue ArgumentError, TypeError, NoMethodError
    raise Refused.new(403, "message #{id(message)} has no time")
  end

  def receive(message)
    finding = VirusScanFinding.parse(message["Message"])
    return acknowledge("no finding: #{message["Subject"].inspect}") unless finding # an alarm, say
    if finding.contradicted_by?(message["MessageAttributes"])
      raise Refused.new(422, "the attributes of message #{id(message)} say something else than its text")
    end

    blob = ActiveStorage::Blob.find_by(key: finding.key)
    if blob.nil? && ActiveStorage::Blob.virus_scan_expects?(finding)
      raise Refused.new(503, "no blob with the key #{finding.key.inspect} yet")
    end
    return acknowledge("not of a file of ours: #{finding.inspect}") unless blob&.virus_scan_bucket == finding.bucket

    blob.apply_virus_scan(finding, published_at(message))
    acknowledge finding.inspect
  end

  # Visits SubscribeURL, if it leads to SNS.
  def confirm(message)
    unless from_sns?(message["SubscribeURL"], message["TopicArn"])
      raise Refused.new(403, "SubscribeURL is not SNS's in the region of #{message["TopicArn"].inspect}")
    end
    url = URI(message["SubscribeURL"])
    answer = Net::HTTP.start(url.host, use_ssl: true, open_timeout: 5, read_timeout: 5) { |http| http.get(url.request_uri) }
    raise Refused.new(503, "SNS answered #{answer.code} to the confirmation") unless answer.is_a?(Net::HTTPSuccess)

    acknowledge "subscribed to #{message["TopicArn"].inspect}"
  rescue URI::InvalidURIError # whose message has the URL, and the URL the token
    raise Refused.new(403, "SubscribeURL is not a URL")
  end

  # Whether a URL is one of SNS in the topic's region. The slash ends the host: no port, no user name,
  # no longer name. (The gem also takes sns.s3-us-west-2.amazonaws.com, somebody's bucket.)
  def from_sns?(url, topic_arn)
    _, partition, _, region = topic_arn.split(":")
    url.to_s.start_with?("https://sns.#{region}.amazonaws.com#{".cn" if partition == "aws-cn"}/")
  end

  def acknowledge(what)
    logger.info "virus scan: #{what}"
    head :ok
  end

  # For the log: a UUID has 36 characters, and what may be hidden behind it stays out.
  def id(message)
    message["MessageId"].to_s.first(36).inspect
  end

  def settings
    Rails.configuration.x.virus_scan
  end
end
