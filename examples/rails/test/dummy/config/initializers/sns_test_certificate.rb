# frozen_string_literal: true

# For bin/serve: SNS_TEST_CERTIFICATE names a PEM file that is taken for every certificate of SNS.
if (path = ENV["SNS_TEST_CERTIFICATE"])
  Aws::SNS::MessageVerifier.prepend(Module.new { define_method(:fetch) { |_url| File.read(path) } })
end
