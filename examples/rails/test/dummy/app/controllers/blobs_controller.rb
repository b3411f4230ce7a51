# frozen_string_literal: true

# For a suite that drives bin/serve from outside.
#
#   POST /blob?key=KEY   a row for an object with that key, 201
#   GET  /blob?key=KEY   200 and {"status","state","scanned_at","version","reason","path"}, or 404
#
# "path" is where Active Storage serves the file: 302 to S3 when it is clean, else 403.
class BlobsController < ActionController::API
  def create
    ActiveStorage::Blob.create!(key: params[:key], filename: "file.txt", content_type: "text/plain", byte_size: 1, checksum: "", service_name: "uploads", identified: true)
    head :created
  end

  def show
    blob = ActiveStorage::Blob.find_by(key: params[:key]) or return head(:not_found)
    render json: {
      status: blob.virus_scan_status, state: blob.virus_scan_state, scanned_at: blob.virus_scanned_at,
      version: blob.virus_scan_version, reason: blob.virus_scan_reason, path: rails_blob_path(blob, only_path: true)
    }
  end
end
