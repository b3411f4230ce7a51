# frozen_string_literal: true

require_relative "test_helper"

class VirusScanFindingTest < ActiveSupport::TestCase
  FINDINGS.each do |finding|
    expected = finding["body"].slice("bucket", "key", "status", "action").merge("version" => finding["body"].fetch("version", ""))
    texts = { "JSON" => finding["body"].to_json, "text" => finding["text"] }.compact
    texts.each do |format, text|
      test "#{finding["name"]} as #{format}" do
        parsed = VirusScanFinding.parse(text)
        assert_equal expected, parsed.to_h.stringify_keys.slice("bucket", "key", "status", "action").merge("version" => parsed.version)
        assert_not parsed.contradicted_by?(attributes(finding))
      end
    end
  end

  test "the reason is that of the signed text only" do
    assert_equal "encrypted", VirusScanFinding.parse(finding("no")["body"].to_json).reason
    assert_nil VirusScanFinding.parse(finding("no")["text"]).reason
  end

  {
    "nothing" => "",
    "another word" => "s3://b/k  is spotless, no action executed",
    "the words of 2018, without an action" => "s3://b/k is clean",
    "an end that is not the end" => "s3://b/k  is clean, no action executed\nMessageId\n9d2c5580",
    "a beginning that is not the beginning" => "see s3://b/k  is clean, no action executed",
    "no key" => "s3://b/  is clean, no action executed",
    "JSON without a key" => '{"bucket":"b","status":"clean"}',
    "JSON with a key that is no text" => '{"bucket":"b","key":["k"],"status":"clean"}',
    "JSON with another word" => '{"bucket":"b","key":"k","status":"CLEAN"}',
    "JSON that is no object" => '["s3://b/k  is clean, no action executed"]',
    "half of a JSON text" => '{"bucket":"b","key":"k","status":"clean"'
  }.each do |what, text|
    test "no finding: #{what}" do
      assert_nil VirusScanFinding.parse(text)
    end
  end

  test "attributes that contradict the signed text" do
    signed = finding("clean-version")
    finding = VirusScanFinding.parse(signed["text"])
    { "bucket" => "other", "key" => "other", "version" => "other", "status" => "infected", "action" => "tag" }.each do |name, value|
      assert finding.contradicted_by?(attributes(signed).merge(name => { "Type" => "String", "Value" => value })), name
    end
    assert VirusScanFinding.parse(finding("clean")["text"]).contradicted_by?(attributes(signed)), "a version where there is none"
  end

  test "attributes that are not there contradict nothing" do
    finding = VirusScanFinding.parse(finding("clean-version")["text"])
    assert_not finding.contradicted_by?(nil)
    assert_not finding.contradicted_by?({})
    assert_not finding.contradicted_by?({ "prefix" => { "Type" => "String", "Value" => "a" } })
  end

  test "attributes of another form contradict, and raise nothing" do
    finding = VirusScanFinding.parse(finding("clean")["text"])
    [[], "", 1, true, { "key" => nil }, { "key" => "k" }, { "key" => 1 }, { "key" => ["Value"] }, { "key" => {} },
     { "key" => { "Value" => 1 } }, { "key" => { "Value" => nil }, "key_encoding" => { "Value" => "url" } },
     { "key" => { "Value" => "%ff%" }, "key_encoding" => { "Value" => "url" } }, { "status" => { "Value" => ["clean"] } }].each do |attributes|
      assert finding.contradicted_by?(attributes), attributes.inspect
    end
  end

  test "an encoded key is decoded only if the attribute says so" do
    signed = finding("key-with-percent-and-plus")
    assert VirusScanFinding.parse(signed["text"]).contradicted_by?(attributes(signed).merge("key_encoding" => { "Value" => "url" }))
    signed = finding("key-with-emoji")
    assert VirusScanFinding.parse(signed["body"].to_json).contradicted_by?(attributes(signed).except("key_encoding"))
  end

  private

  def attributes(finding)
    finding["attributes"].transform_values { |value| { "Type" => "String", "Value" => value } }
  end
end
