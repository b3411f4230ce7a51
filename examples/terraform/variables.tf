variable "template_url" {
  description = "HTTPS URL of the packaged template in S3, see README.md"
  type        = string
}

variable "bucket_names" {
  description = "Existing buckets of this account and region whose new objects are scanned"
  type        = list(string)
}

variable "endpoint" {
  description = "HTTPS URL that the findings are posted to; it confirms the subscription itself"
  type        = string

  validation {
    condition     = startswith(var.endpoint, "https://")
    error_message = "The endpoint must be an https:// URL."
  }
}

variable "quarantine" {
  description = "Whether only objects tagged clean can be read in these buckets"
  type        = bool
  default     = false
}

variable "alarms_email" {
  description = "E-mail address for alarms, empty for none"
  type        = string
  default     = ""
}
