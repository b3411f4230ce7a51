# frozen_string_literal: true

Rails.application.routes.draw do
  draw :virus_scan
  resources :documents, only: %i[show create update]
  resource :blob, only: %i[show create] # for bin/serve
end
