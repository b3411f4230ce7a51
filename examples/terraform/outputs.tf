output "findings_topic_arn" {
  description = "Topic of the findings; a subscriber accepts messages of no other"
  value       = aws_cloudformation_stack.s3_virusscan.outputs["FindingsTopicArn"]
}

output "quarantine_policy" {
  description = "Bucket policy with which only objects tagged clean can be read"
  value       = aws_cloudformation_stack.s3_virusscan.outputs["QuarantinePolicy"]
}

output "undelivered_queue_url" {
  description = "Findings that did not reach the endpoint"
  value       = aws_sqs_queue.undelivered.url
}
