# Deploys s3-virusscan, has it scan existing buckets, and sends the findings to an HTTPS endpoint.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

resource "aws_cloudformation_stack" "s3_virusscan" {
  #checkov:skip=CKV_AWS_124:Terraform waits for the stack and reports its failure
  name         = "s3-virusscan"
  template_url = var.template_url

  # IAM: the functions' roles. AUTO_EXPAND: the packaged template is still one of AWS SAM.
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]

  parameters = {
    BucketNames      = join(",", var.bucket_names)
    TagFiles         = "true"
    ReportCleanFiles = "true" # a subscriber that shows "pending" waits for clean as well
    QuarantinePolicy = var.quarantine ? "attach" : "none"
    AlarmsEmail      = var.alarms_email
  }

  timeouts {
    create = "60m" # the first definitions are downloaded and proved meanwhile
    delete = "60m"
  }
}

resource "aws_sns_topic_subscription" "findings" {
  topic_arn = aws_cloudformation_stack.s3_virusscan.outputs["FindingsTopicArn"]
  protocol  = "https"
  endpoint  = var.endpoint

  # The endpoint answers SNS's SubscriptionConfirmation itself, so it must run before this is made.
  endpoint_auto_confirms          = true
  confirmation_timeout_in_minutes = 5

  # SNS tries again after 5xx and time-outs only, and gives up after a minute without this policy.
  # With it, it does so for 48 to 59 minutes (an hour is the most there is): 3 times at once, 3 times
  # after 10 seconds, 6 times after longer waits, then every 2 minutes.
  delivery_policy = jsonencode({
    healthyRetryPolicy = {
      numRetries         = 35
      numNoDelayRetries  = 3
      minDelayTarget     = 10
      numMinDelayRetries = 3
      backoffFunction    = "exponential"
      maxDelayTarget     = 120
      numMaxDelayRetries = 23
    }
  })

  # What could not be delivered even so. (Whether what the endpoint refused with 4xx comes here too,
  # AWS's pages disagree.)
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.undelivered.arn
  })
}

resource "aws_sqs_queue" "undelivered" {
  name_prefix               = "s3-virusscan-undelivered-"
  message_retention_seconds = 1209600 # 14 days, the longest there is
  sqs_managed_sse_enabled   = true
}

data "aws_iam_policy_document" "undelivered" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.undelivered.arn]

    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudformation_stack.s3_virusscan.outputs["FindingsTopicArn"]]
    }
  }
}

resource "aws_sqs_queue_policy" "undelivered" {
  queue_url = aws_sqs_queue.undelivered.url
  policy    = data.aws_iam_policy_document.undelivered.json
}

resource "aws_cloudwatch_metric_alarm" "undelivered" {
  alarm_name          = "s3-virusscan-undelivered-findings"
  alarm_description   = "Findings did not reach ${var.endpoint}"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.undelivered.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_cloudformation_stack.s3_virusscan.outputs["AlarmsTopicArn"]]
}
