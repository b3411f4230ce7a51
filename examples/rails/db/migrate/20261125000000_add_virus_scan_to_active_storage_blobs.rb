# frozen_string_literal: true

# Every file that is there already counts as not scanned, and is held back, until its finding comes.
class AddVirusScanToActiveStorageBlobs < ActiveRecord::Migration[6.1]
  def change
    change_table :active_storage_blobs, bulk: true do |t|
      t.integer :virus_scan_status, null: false, default: 0
      t.datetime :virus_scanned_at, precision: 6 # when the finding was published, which orders findings
      t.string :virus_scan_version, null: false, default: "" # S3 version id; "" without versioning
      t.string :virus_scan_reason
    end
  end
end
