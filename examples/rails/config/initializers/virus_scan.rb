# frozen_string_literal: true

Rails.application.config.x.virus_scan.tap do |virus_scan|
  # The topics whose findings count, separated by commas. Without any, none do.
  virus_scan.topic_arns = ENV.fetch("FINDINGS_TOPIC_ARNS", "").split(",").map(&:strip)

  # One for the life of the process: it keeps SNS's certificate.
  virus_scan.verifier = Aws::SNS::MessageVerifier.new
end

# A confirmation's secrets stay out of the log, should SNS ever be told to post as application/json.
Rails.application.config.filter_parameters += [/\AToken\z/, /\ASubscribeURL\z/]

ActiveSupport.on_load(:active_storage_blob) { include VirusScannable }

Rails.application.config.to_prepare { ActiveStorage::SetBlob.prepend VirusScanGate }
