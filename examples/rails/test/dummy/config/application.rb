# frozen_string_literal: true

# A small app with the example's files in it, on the Rails that Debian packages; no Bundler.
# Whatever the caller's shell has for other apps:
ENV["RAILS_ENV"] = "test"
ENV.delete("DATABASE_URL")

require "rails"
require "active_record/railtie"
require "active_storage/engine"
require "action_controller/railtie"
require "action_view/railtie"
require "sqlite3"
require_relative "../../support/aws-sdk-sns"

class Dummy < Rails::Application
  EXAMPLE = File.expand_path("../../..", __dir__)

  config.root = File.expand_path("..", __dir__)
  %w[app app/views config/initializers config/locales config/routes db/migrate].each do |folder|
    config.paths[folder] << File.join(EXAMPLE, folder)
  end

  config.load_defaults 6.1
  config.eager_load = true
  config.cache_classes = true
  config.secret_key_base = "the dummy's"
  config.hosts.clear
  config.logger = ActiveSupport::Logger.new("#{ENV.fetch("DUMMY_DATABASE")}.log")
  config.active_job.queue_adapter = :test
  config.active_storage.service = :uploads
  config.action_controller.allow_forgery_protection = true
  config.action_dispatch.show_exceptions = true
end
