# frozen_string_literal: true

# Stands in for the gem aws-sdk-sns, which Debian does not package: Aws::SNS::MessageVerifier with
# the gem's interface and the gem's rules, as of its version 1.89.0. What it accepts is held to
# messages that AWS signed, and what it does not to tests/vectors/sns/forgeries.json; on every one
# of both it was compared with the gem's own code. In an app, use the gem.

require "aws-sdk-core"
require "base64"
require "net/http"
require "openssl"

module Aws
  module SNS
    class MessageVerifier
      class VerificationError < StandardError; end

      # Those that are there and not empty, in this order, are what is signed.
      SIGNED = %w[Message MessageId Subject SubscribeURL Timestamp Token TopicArn Type].freeze
      DIGESTS = { "1" => "SHA1", "2" => "SHA256" }.freeze
      HOST = /^sns\.[a-zA-Z0-9\-]{3,}\.amazonaws\.com(\.cn)?$/.freeze
      PEM = /\A\s*-----BEGIN [A-Z]+-----\n[A-Za-z\d+\/\n]+={0,2}\n-----END [A-Z]+-----\s*\Z/.freeze
      ATTEMPTS = 3

      def initialize
        @certificates = {}
      end

      # Whether SNS signed it. Rescues VerificationError only; what is no message raises others.
      def authentic?(body)
        authenticate!(body)
      rescue VerificationError
        false
      end

      # True, or VerificationError.
      def authenticate!(body)
        message = Aws::Json.load(body)
        url = message[message.key?("SigningCertUrl") ? "SigningCertUrl" : "SigningCertURL"] # as Lambda gets it
        digest = DIGESTS[message["SignatureVersion"]] or raise VerificationError, "Invalid SignatureVersion"

        key = OpenSSL::X509::Certificate.new(certificate(URI.parse(url))).public_key
        signature = Base64.decode64(message["Signature"])
        key.verify(digest, signature, signed_text(message)) or raise VerificationError, "not authentic"
      end

      private

      def signed_text(message)
        message.values_at(*SIGNED).zip(SIGNED).map { |value, name| "#{name}\n#{value}\n" unless value.nil? || value.empty? }.join
      end

      def certificate(url)
        @certificates[url.to_s] ||= begin
          raise VerificationError, "not https" unless url.scheme == "https"
          raise VerificationError, "not AWS" unless HOST.match?(url.host)
          raise VerificationError, "not .pem" unless File.extname(url.path) == ".pem"

          fetch(url).tap { |pem| raise VerificationError, "not a PEM certificate" unless PEM.match?(pem) }
        end
      end

      def fetch(url, attempt = 1)
        answer = Net::HTTP.start(url.host, url.port, use_ssl: true) { |http| http.get(url.request_uri) }
        answer.code == "200" ? answer.body : raise(VerificationError, answer.body)
      rescue StandardError => error
        retry if (attempt += 1) <= ATTEMPTS
        raise VerificationError, error.message
      end
    end
  end
end
