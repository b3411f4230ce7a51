# frozen_string_literal: true

require_relative "test_helper"

# What the app's users get to see: nothing of a file until it is clean, and why.
class ServingTest < ActionDispatch::IntegrationTest
  SAYS = { waiting: /being checked/, unscannable: /could not be checked/, infected: /contains a virus/ }.freeze
  COLUMNS = {
    waiting: {}, unscannable: { virus_scanned_at: Time.at(0) },
    infected: { virus_scanned_at: Time.at(0), virus_scan_status: :infected },
    clean: { virus_scanned_at: Time.at(0), virus_scan_status: :clean }
  }.freeze

  # Every way in which Active Storage serves a file, with the old addresses of redirect.
  WAYS = {
    "redirect" => ->(blob) { rails_service_blob_path(blob.signed_id, blob.filename) },
    "redirect, old address" => ->(blob) { "/rails/active_storage/blobs/#{blob.signed_id}/#{blob.filename}" },
    "proxy" => ->(blob) { rails_service_blob_proxy_path(blob.signed_id, blob.filename) },
    "representation" => ->(blob) { rails_blob_representation_path(blob.signed_id, variation.key, blob.filename) },
    "representation, old address" => ->(blob) { "/rails/active_storage/representations/#{blob.signed_id}/#{variation.key}/#{blob.filename}" },
    "representation by proxy" => ->(blob) { rails_blob_representation_proxy_path(blob.signed_id, variation.key, blob.filename) }
  }.freeze

  WAYS.each do |way, path|
    SAYS.each do |state, says|
      test "#{way}, #{state}: held back, and the page says why" do
        s3 = stub_request(:any, %r{/uploads/})
        get instance_exec(image!(state), &path), headers: { "Accept" => "image/avif,image/webp,image/png" } # as for <img>
        assert_response :forbidden
        assert_not_requested s3
        assert_equal "text/html", response.media_type
        assert_select "h1", "This file cannot be opened"
        assert_select "p.scan-status--#{state}", says
        assert_equal "no-store", response.headers["Cache-Control"]
      end
    end

    test "#{way}, clean: served" do
      stub_request(:head, %r{/uploads/}).to_return(headers: { "Content-Length" => 5 })
      file = stub_request(:get, %r{/uploads/#{way.include?("representation") ? "variant" : KEY}$}).to_return(body: "bytes")
      get instance_exec(image!(:clean), &path)
      if way.include?("proxy")
        assert_response :ok
        assert_equal "bytes", response.body
        assert_requested file
      else
        assert_response :redirect
        assert_match %r{\Ahttps://s3\.amazonaws\.com/uploads/#{way.include?("representation") ? "variant" : KEY}\?.*X-Amz-Signature=}, response.location
      end
    end
  end

  test "an address that the app did not sign" do
    get "/rails/active_storage/blobs/redirect/forged/file.png"
    assert_response :not_found
  end

  test "every public controller of Active Storage that finds a blob has the gate" do
    Rails.application.eager_load!
    controllers = ActiveStorage::BaseController.descendants.select { |controller| controller.method_defined?(:set_blob, true) || controller.private_method_defined?(:set_blob, true) }
    assert_equal %w[ActiveStorage::Blobs::ProxyController ActiveStorage::Blobs::RedirectController
                    ActiveStorage::Representations::BaseController ActiveStorage::Representations::ProxyController
                    ActiveStorage::Representations::RedirectController], controllers.map(&:name).sort
    controllers.each { |controller| assert_equal VirusScanGate, controller.instance_method(:set_blob).owner }
  end

  test "from upload to upload again" do
    stub_request(:put, %r{/uploads/})
    post "/documents", params: { file: upload }
    follow_redirect!
    assert_select "p.scan-status--waiting", SAYS[:waiting]
    assert_select "a", 0
    document = Document.last
    first = document.file.blob

    publish first, "infected"
    get document_path(document)
    assert_select "p.scan-status--infected", SAYS[:infected]
    assert_select "a", 0

    patch document_path(document), params: { file: upload }
    follow_redirect!
    assert_select "p.scan-status--waiting"
    second = document.reload.file.blob
    assert_not_equal first.key, second.key

    publish first, "clean" # of the old file: nothing to do with the new one
    get document_path(document)
    assert_select "p.scan-status--waiting"

    publish second, "no", "reason" => "encrypted"
    get document_path(document)
    assert_select "p.scan-status--unscannable", /could not be checked.*upload it without a password/m
    assert_select "a", 0

    patch document_path(document), params: { file: upload }
    publish document.reload.file.blob, "clean"
    get document_path(document)
    assert_select "p.scan-status--clean", /nothing found/
    get css_select("a").first["href"]
    assert_response :redirect
    assert_match %r{/uploads/#{document.reload.file.key}\?}, response.location
  end

  test "a reason without a text of its own is not shown" do
    blob = image!(:unscannable)
    blob.update!(virus_scan_reason: "limit-other")
    get rails_service_blob_path(blob.signed_id, blob.filename)
    assert_select "p.scan-status--unscannable", "This file could not be checked for viruses, so it cannot be opened. Please upload it in another form."
  end

  test "every reason that has a text is one that the function gives" do
    reasons = File.read(File.expand_path("../../../docs/SEMANTICS.md", __dir__)).scan(/^\| `([a-z-]+)` \|/).flatten
    assert_empty I18n.t("virus_scan.reasons").keys.map(&:to_s) - reasons
  end

  private

  def variation
    ActiveStorage::Variation.wrap(resize_to_limit: [10, 10])
  end

  # An image with a variant that is there already, so that no image has to be worked on.
  def image!(state)
    blob!(filename: "file.png", **COLUMNS.fetch(state)).tap do |blob|
      blob.update!(content_type: "image/png")
      record = blob.variant_records.create!(variation_digest: blob.variant(variation).variation.digest)
      ActiveStorage::Attachment.insert({ name: "image", record_type: record.class.name, record_id: record.id,
        blob_id: blob!(key: "variant", filename: "file.png").id, created_at: Time.current })
    end
  end

  def upload
    Rack::Test::UploadedFile.new(StringIO.new("text"), "text/plain", original_filename: "file.txt")
  end

  def publish(blob, word, **fields)
    body = { bucket: "uploads", key: blob.key, status: word, action: "no" }.merge(fields)
    deliver SnsTopic.notification(body.to_json)
    assert_response :ok
  end
end
