# frozen_string_literal: true

# What the signed text of a message says about one object, in either format of s3-virusscan.
class VirusScanFinding < Struct.new(:bucket, :key, :version, :status, :action, :reason, keyword_init: true)
  # The word of a finding and the word of the enum; "no" means: could not be looked at completely.
  STATUSES = { "no" => "no_scan", "clean" => "clean", "infected" => "infected" }.freeze

  # MessageFormat=widdix. Read from the end, because a key may hold anything, also
  # " is clean, no action executed". The last space parts key and version; without a version there
  # are two spaces before "is".
  TEXT = %r{\As3://(?<bucket>[^/]+)/(?<key>.+) (?<version>\S*) is (?<status>\w+), (?<action>\w+) action executed\z}m

  # The finding, or nil if the text is none: an alarm, another publisher's.
  def self.parse(text)
    fields = TEXT.match(text)&.named_captures || json(text) || {}
    new(**fields.slice(*members.map(&:to_s)).symbolize_keys) if STATUSES.key?(fields["status"])
  end

  # MessageFormat=json, and the form of every finding whose key SNS cannot carry in a text.
  def self.json(text)
    fields = JSON.parse(text)
    fields if fields.is_a?(Hash) && fields.values_at("bucket", "key", "status").all?(String)
  rescue JSON::ParserError
    nil
  end
  private_class_method :json

  # "" on a bucket without versioning.
  def version
    super.to_s
  end

  # Whether the message's attributes, which SNS does not sign, say something else. None at all is no
  # contradiction. A key that an attribute cannot carry is percent-encoded there.
  def contradicted_by?(attributes)
    return false if attributes.nil?
    return true unless attributes.is_a?(Hash) && attributes.values.all?(Hash)

    said = attributes.transform_values { |attribute| attribute["Value"] }
    said["key"] = Rack::Utils.unescape_path(said["key"].to_s) if said["key_encoding"] == "url"
    said.slice("bucket", "key", "version", "status", "action").any? { |name, value| value != public_send(name) }
  end
end
