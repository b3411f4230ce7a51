# frozen_string_literal: true

require_relative "test_helper"

# A subscriber of the Widdix stack's time, as the article of 2020 about Rails and its scanner
# describes one: it takes key and status from the attributes, unasked, and maps the three words.
# Not a model: it is here because such apps exist, and what we publish must go on working for them.
class WiddixSubscriber
  STATUSES = { "no" => :no_scan, "clean" => :clean, "infected" => :infected }.freeze

  def self.receive(body)
    attributes = JSON.parse(body).fetch("MessageAttributes")
    blob = ActiveStorage::Blob.find_by(key: attributes["key"]["Value"])
    blob.update!(virus_scan_status: STATUSES[attributes["status"]["Value"]])
  end
end

class WiddixSubscriberTest < ActiveSupport::TestCase
  # Keys that SNS cannot carry Widdix could not publish at all; Active Storage makes no such keys.
  published = FINDINGS.reject { |finding| finding["attributes"].key?("key_encoding") }

  published.each do |finding|
    { "text" => finding["text"], "JSON" => finding["body"].to_json }.each do |format, text|
      test "#{finding["name"]} as #{format}" do
        blob = blob!(key: finding["body"]["key"])
        blob.update!(virus_scan_status: finding["body"]["status"] == "clean" ? :infected : :clean) # something else
        WiddixSubscriber.receive(SnsTopic.notification(text, attributes: finding["attributes"]).to_json)
        assert_equal WiddixSubscriber::STATUSES.fetch(finding["body"]["status"]).to_s, status(blob)
      end
    end
  end

  test "all three words are among what is published" do
    assert_equal WiddixSubscriber::STATUSES.keys.sort, published.map { |finding| finding["attributes"]["status"] }.uniq.sort
  end
end
