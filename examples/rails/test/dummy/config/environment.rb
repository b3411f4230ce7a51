# frozen_string_literal: true

require_relative "application"
Rails.application.initialize!

# The tables of Active Storage, of the example and of this app, by their migrations.
folders = [ActiveStorage::Engine.root.join("db/migrate"), *Rails.application.paths["db/migrate"].existent]
ActiveRecord::Migration.verbose = false
ActiveRecord::MigrationContext.new(folders.map(&:to_s), ActiveRecord::SchemaMigration).migrate
ActiveRecord::Base.descendants.each(&:reset_column_information)
