# frozen_string_literal: true

# Holds a file back until it is clean. Prepended to ActiveStorage::SetBlob, through which all four
# of Active Storage's public controllers (redirect and proxy, of blobs and of representations) find
# their blob; so it comes before a representation is made, which would read the file.
module VirusScanGate
  private

  def set_blob
    super
    return if performed? || @blob.virus_scan_clean?

    response.headers["Cache-Control"] = "no-store" # it may be clean in a second
    render "virus_scans/held_back", locals: { blob: @blob }, formats: :html, status: :forbidden
  end
end
