# frozen_string_literal: true

# What ActiveStorage::Blob knows about its virus scan. Included by config/initializers/virus_scan.rb.
module VirusScannable
  extend ActiveSupport::Concern

  # A finding takes the place of the one before
  # - if there is none;
  # - if it says infected and is not older;
  # - else if it is newer, and the one before was clean or is about the same version: while one
  #   version is infected or could not be scanned, another version's "clean" does not release it.
  #   (Who may upload to a key twice can have the clean version's finding come last.)
  SUPERSEDES = <<~SQL
    virus_scanned_at IS NULL
    OR (virus_scanned_at <= :at AND :status = :infected)
    OR (virus_scanned_at < :at AND (virus_scan_status = :clean OR virus_scan_version = :version))
  SQL

  included do
    # Rails 7.0 and later: enum :virus_scan_status, { ... }, prefix: :virus_scan
    enum virus_scan_status: { no_scan: 0, clean: 1, infected: 2 }, _prefix: :virus_scan
  end

  class_methods do
    # Whether a finding of an unknown key may be ahead of its row: it is about a bucket of
    # config/storage.yml, and not about a variant, which has no row unless variants are tracked.
    def virus_scan_expects?(finding)
      services = Rails.configuration.active_storage.service_configurations.values
      services.any? { |service| service["bucket"] == finding.bucket } && !finding.key.start_with?("variants/")
    end
  end

  # The bucket that the file is in.
  def virus_scan_bucket
    service_with_bucket = service.try(:primary) || service # a mirror's primary
    service_with_bucket.try(:bucket)&.name
  end

  # "waiting", "clean", "infected" or "unscannable".
  def virus_scan_state
    return virus_scan_status unless virus_scan_no_scan?
    virus_scanned_at ? "unscannable" : "waiting"
  end

  # Takes a finding over unless it is overtaken. The condition is part of the UPDATE, so that of two
  # deliveries at the same time neither undoes the other; a delivery that comes twice changes nothing.
  def apply_virus_scan(finding, published_at)
    statuses = self.class.virus_scan_statuses
    status = statuses.fetch(VirusScanFinding::STATUSES.fetch(finding.status))
    self.class.where(id: id)
        .where(SUPERSEDES, at: published_at, status: status, version: finding.version, **statuses.symbolize_keys)
        .update_all(virus_scan_status: status, virus_scanned_at: published_at, virus_scan_version: finding.version, virus_scan_reason: finding.reason)
    reload
    attachments.includes(:record).each(&:touch) # so that cached views of the records are drawn anew
    identify
    analyze_later unless analyzed?
  end

  # Active Storage does not look into a file that is not clean, which the bucket's quarantine policy
  # would not let it anyway. apply_virus_scan makes up for both.
  def identify_without_saving
    super if virus_scan_clean?
  end

  def analyze_later
    super if virus_scan_clean?
  end
end
