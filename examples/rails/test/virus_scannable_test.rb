# frozen_string_literal: true

require_relative "test_helper"

# Which finding is in force, when several come.
class VirusScannableTest < ActiveSupport::TestCase
  EARLY, LATE = Time.utc(2026, 11, 25, 12, 0, 0.001r), Time.utc(2026, 11, 25, 12, 0, 0.002r)

  setup { @blob = blob! }

  # [first to come, then], each status, time, version => what holds
  {
    [["clean", EARLY, ""], ["infected", LATE, ""]] => "infected",
    [["infected", EARLY, ""], ["clean", LATE, ""]] => "clean", # scanned again with other definitions
    [["no", EARLY, ""], ["clean", LATE, ""]] => "clean",
    [["clean", EARLY, ""], ["no", LATE, ""]] => "no_scan",
    [["infected", EARLY, ""], ["no", LATE, ""]] => "no_scan",
    # an older one comes late
    [["infected", LATE, ""], ["clean", EARLY, ""]] => "infected",
    [["no", LATE, ""], ["clean", EARLY, ""]] => "no_scan",
    [["clean", LATE, ""], ["infected", EARLY, ""]] => "clean",
    [["infected", LATE, ""], ["no", EARLY, ""]] => "infected",
    # in the same millisecond the worse one holds
    [["clean", EARLY, ""], ["infected", EARLY, ""]] => "infected",
    [["infected", EARLY, ""], ["clean", EARLY, ""]] => "infected",
    [["no", EARLY, ""], ["clean", EARLY, ""]] => "no_scan",
    # another version's verdict can only take clean away
    [["clean", EARLY, "v1"], ["infected", LATE, "v2"]] => "infected",
    [["clean", EARLY, "v1"], ["no", LATE, "v2"]] => "no_scan",
    [["infected", EARLY, "v2"], ["clean", LATE, "v1"]] => "infected",
    [["no", EARLY, "v2"], ["clean", LATE, "v1"]] => "no_scan",
    [["infected", EARLY, "v2"], ["no", LATE, "v1"]] => "infected",
    [["no", EARLY, "v2"], ["infected", LATE, "v1"]] => "infected",
    [["infected", EARLY, "v1"], ["clean", LATE, "v1"]] => "clean",
    [["clean", EARLY, "v1"], ["clean", LATE, "v2"]] => "clean"
  }.each do |(first, second), expected|
    test "#{first[0]} #{first[2]} then #{second[0]} #{second[2]}, published #{first[1] == second[1] ? "at once" : first[1] < second[1] ? "in this order" : "the other way round"}: #{expected}" do
      apply(*first)
      apply(*second)
      assert_equal expected, status(@blob)
    end
  end

  test "all that a finding says is written together, and an overtaken one writes nothing" do
    apply "no", LATE, "v2", "encrypted"
    apply "clean", EARLY, "v1"
    @blob.reload
    assert_equal ["no_scan", LATE, "v2", "encrypted"], [@blob.virus_scan_status, @blob.virus_scanned_at, @blob.virus_scan_version, @blob.virus_scan_reason]
    apply "clean", LATE + 1, "v2"
    assert_nil @blob.reload.virus_scan_reason
  end

  test "twice the same changes nothing" do
    %w[clean no infected].each_with_index do |word, i|
      apply word, EARLY + i
      before = @blob.reload.attributes
      apply word, EARLY + i
      assert_equal before, @blob.reload.attributes
    end
  end

  # Two deliveries at the same time: the second one comes when the first has read all that it reads
  # and is about to write.
  [[["clean", EARLY], ["infected", LATE]], [["infected", LATE], ["clean", EARLY]]].each do |first, second|
    test "#{second[0]} comes while #{first[0]} is being written" do
      between = Interruption.new(/\AUPDATE "active_storage_blobs"/) { apply(*second) }
      ActiveSupport::Notifications.subscribed(between, "sql.active_record") { apply(*first) }
      assert between.happened
      assert_equal "infected", status(@blob)
      assert_equal LATE, @blob.reload.virus_scanned_at
    end
  end

  # Runs the block once, right before the first statement that matches.
  class Interruption
    attr_reader :happened

    def initialize(pattern, &block)
      @pattern = pattern
      @block = block
    end

    def start(_name, _id, payload)
      return if @happened || !@pattern.match?(payload[:sql])

      @happened = true
      @block.call
    end

    def finish(*); end
  end

  test "records with the file are touched, so that cached views of them are drawn anew" do
    document = travel_to(EARLY) { Document.create!(file: @blob) }
    travel_to(EARLY + 1.hour) { apply "infected", LATE }
    assert_equal EARLY.floor + 1.hour, document.reload.updated_at
  end

  test "states" do
    assert_equal "waiting", @blob.virus_scan_state
    { "no" => "unscannable", "clean" => "clean", "infected" => "infected" }.each_with_index do |(word, state), i|
      apply word, EARLY + i
      assert_equal state, @blob.reload.virus_scan_state
    end
  end

  test "files of before are held back, can be released as the README says, and the first finding counts all the same" do
    assert_not @blob.virus_scan_clean?
    ActiveStorage::Blob.update_all(virus_scan_status: :clean)
    assert @blob.reload.virus_scan_clean?
    apply "infected", EARLY
    assert_equal "infected", status(@blob)
  end

  # A direct upload is looked into by Active Storage when it is attached: not before it is clean.
  test "the file is not read until it is clean, and then it is" do
    blob = ActiveStorage::Blob.create_before_direct_upload!(key: "direct", filename: "a", byte_size: 8, checksum: "", content_type: "text/plain")
    reading = stub_request(:get, %r{/uploads/direct$}).to_return(body: "\x89PNG\r\n\x1A\n".b)
    Document.create!(file: blob.signed_id)
    apply_to blob, "no", EARLY
    assert_no_enqueued_jobs
    assert_not_requested reading
    assert_equal "text/plain", blob.reload.content_type

    assert_enqueued_with(job: ActiveStorage::AnalyzeJob, args: [blob]) { apply_to blob, "clean", LATE }
    assert_requested reading
    assert_equal "image/png", blob.reload.content_type
  end

  test "when reading fails, the next delivery of the same finding makes up for it" do
    blob = ActiveStorage::Blob.create_before_direct_upload!(key: "direct", filename: "a", byte_size: 8, checksum: "", content_type: "text/plain")
    stub_request(:get, %r{/uploads/direct$}).to_return({ status: 403 }, { body: "\x89PNG\r\n\x1A\n".b })
    assert_raises(Aws::S3::Errors::Forbidden) { apply_to blob, "clean", EARLY }
    apply_to blob, "clean", EARLY
    assert_equal "image/png", blob.reload.content_type
  end

  include ActiveJob::TestHelper

  private

  def apply(word, at, version = "", reason = nil)
    apply_to(@blob, word, at, version, reason)
  end

  # On an object of its own, as each request has.
  def apply_to(blob, word, at, version = "", reason = nil)
    finding = VirusScanFinding.new(bucket: "uploads", key: blob.key, version: version, status: word, action: "no", reason: reason)
    ActiveStorage::Blob.find(blob.id).apply_virus_scan(finding, at)
  end
end
