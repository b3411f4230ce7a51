# frozen_string_literal: true

# ruby test/all.rb: the whole suite; one file of it alone: ruby test/serving_test.rb
Dir[File.join(__dir__, "*_test.rb")].sort.each { |file| require file }
