# frozen_string_literal: true

# What an app has of its own: a record with a file, shown with its scan, and its upload.
class DocumentsController < ActionController::Base
  skip_forgery_protection

  def show
    @document = Document.find(params[:id])
  end

  def create
    redirect_to Document.create!(file: params.require(:file))
  end

  def update
    redirect_to Document.find(params[:id]).tap { |document| document.update!(file: params.require(:file)) }
  end
end
