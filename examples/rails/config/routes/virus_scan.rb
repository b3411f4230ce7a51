# frozen_string_literal: true

# In config/routes.rb: draw(:virus_scan)
post "virus_scan_findings", to: "virus_scan_findings#create"
