# One resource of each kind that an AWS project of this size uses, to see that it is created, comes
# back as it was given and is destroyed.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  max_retries = 2

  default_tags {
    tags = { Project = "localaws" }
  }
}

variable "lambda_zip" {
  type = string
}

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

# --- storage ---

resource "aws_kms_key" "this" {
  description         = "localaws"
  enable_key_rotation = true
}

resource "aws_kms_alias" "this" {
  name          = "alias/localaws"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_s3_bucket" "this" {
  bucket        = "localaws-terraform"
  force_destroy = true
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# No lifecycle configuration: the provider watches a new one for a minute before it believes it.

data "aws_iam_policy_document" "bucket" {
  statement {
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = data.aws_iam_policy_document.bucket.json
}

resource "aws_s3_object" "code" {
  bucket      = aws_s3_bucket.this.id
  key         = "code.zip"
  source      = var.lambda_zip
  source_hash = filemd5(var.lambda_zip)
}

# --- roles ---

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com", "sagemaker.amazonaws.com", "states.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = "localaws"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "permissions" {
  statement {
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.this.arn}/*"]
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "inline"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.permissions.json
}

resource "aws_iam_policy" "this" {
  name   = "localaws"
  policy = data.aws_iam_policy_document.permissions.json
}

resource "aws_iam_role_policy_attachment" "this" {
  role       = aws_iam_role.this.name
  policy_arn = aws_iam_policy.this.arn
}

# --- functions ---

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/localaws"
  retention_in_days = 30
}

resource "aws_lambda_function" "this" {
  function_name                  = "localaws"
  role                           = aws_iam_role.this.arn
  runtime                        = "python3.13"
  handler                        = "main.handle"
  s3_bucket                      = aws_s3_object.code.bucket
  s3_key                         = aws_s3_object.code.key
  source_code_hash               = filebase64sha256(var.lambda_zip)
  timeout                        = 60
  memory_size                    = 256
  reserved_concurrent_executions = 2

  environment {
    variables = { QUEUE = aws_sqs_queue.this.url }
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.this.arn
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.this.name
  }

  tracing_config {
    mode = "Active"
  }
}

resource "aws_lambda_function" "from_a_file" {
  function_name    = "localaws-from-a-file"
  role             = aws_iam_role.this.arn
  runtime          = "python3.13"
  handler          = "main.handle"
  filename         = var.lambda_zip
  source_code_hash = filebase64sha256(var.lambda_zip)
}

resource "aws_lambda_function_event_invoke_config" "this" {
  function_name                = aws_lambda_function.this.function_name
  maximum_retry_attempts       = 1
  maximum_event_age_in_seconds = 3600

  destination_config {
    on_failure {
      destination = aws_sqs_queue.this.arn
    }
  }
}

resource "aws_lambda_permission" "s3" {
  statement_id   = "S3"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this.function_name
  principal      = "s3.amazonaws.com"
  source_arn     = aws_s3_bucket.this.arn
  source_account = data.aws_caller_identity.current.account_id
}

resource "aws_s3_bucket_notification" "this" {
  bucket = aws_s3_bucket.this.id

  lambda_function {
    id                  = "datasets"
    lambda_function_arn = aws_lambda_function.this.arn
    events              = ["s3:ObjectCreated:*"]
    filter_prefix       = "datasets/"
    filter_suffix       = ".json"
  }

  depends_on = [aws_lambda_permission.s3]
}

# --- messages ---

resource "aws_sqs_queue" "this" {
  name                      = "localaws"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sns_topic" "this" {
  name              = "localaws"
  kms_master_key_id = aws_kms_key.this.id
}

resource "aws_sns_topic_policy" "this" {
  arn = aws_sns_topic.this.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.this.arn
      Principal = { Service = "cloudwatch.amazonaws.com" }
    }]
  })
}

resource "aws_sns_topic_subscription" "email" {
  topic_arn = aws_sns_topic.this.arn
  protocol  = "email"
  endpoint  = "somebody@example.com"
}

resource "aws_sns_topic_subscription" "queue" {
  topic_arn = aws_sns_topic.this.arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.this.arn
}

# --- state machine ---

resource "aws_cloudwatch_log_group" "machine" {
  name              = "/aws/vendedlogs/states/localaws"
  retention_in_days = 30
}

resource "aws_sfn_state_machine" "this" {
  name     = "localaws"
  role_arn = aws_iam_role.this.arn

  definition = jsonencode({
    StartAt = "Wait"
    States = {
      Wait = { Type = "Wait", Seconds = 120, Next = "Work" }
      Work = {
        Type       = "Task"
        Resource   = "arn:${data.aws_partition.current.partition}:states:::lambda:invoke"
        Parameters = { FunctionName = aws_lambda_function.this.arn, "Payload.$" = "$" }
        End        = true
      }
    }
  })

  logging_configuration {
    level                  = "ERROR"
    include_execution_data = true
    log_destination        = "${aws_cloudwatch_log_group.machine.arn}:*"
  }

  tracing_configuration {
    enabled = true
  }
}

# --- watch ---

resource "aws_cloudwatch_metric_alarm" "this" {
  alarm_name          = "localaws"
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.this.function_name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

resource "aws_budgets_budget" "this" {
  name         = "localaws"
  budget_type  = "COST"
  limit_amount = "100"
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "Service"
    values = ["Amazon Comprehend"]
  }

  notification {
    notification_type         = "ACTUAL"
    threshold                 = 80
    threshold_type            = "PERCENTAGE"
    comparison_operator       = "GREATER_THAN"
    subscriber_sns_topic_arns = [aws_sns_topic.this.arn]
  }
}

# --- schedules ---

resource "aws_cloudwatch_event_rule" "this" {
  name                = "localaws"
  schedule_expression = "rate(1 day)"
}

resource "aws_cloudwatch_event_target" "this" {
  rule = aws_cloudwatch_event_rule.this.name
  arn  = aws_lambda_function.this.arn
}

resource "aws_scheduler_schedule" "this" {
  name                         = "localaws"
  schedule_expression          = "cron(0 7 ? * MON-FRI *)"
  schedule_expression_timezone = "Europe/Paris"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.this.arn
    role_arn = aws_iam_role.this.arn
    input    = jsonencode({ action = "start" })
  }
}

# --- containers ---

resource "aws_ecr_repository" "this" {
  name                 = "fake"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  repository = aws_ecr_repository.this.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
      action       = { type = "expire" }
    }]
  })
}

resource "aws_sagemaker_model" "this" {
  name                     = "localaws"
  execution_role_arn       = aws_iam_role.this.arn
  enable_network_isolation = true

  primary_container {
    image       = "${aws_ecr_repository.this.repository_url}:1"
    environment = { NAME = "one" }
  }

  vpc_config {
    security_group_ids = ["sg-0123456789abcdef0"]
    subnets            = ["subnet-0123456789abcdef0"]
  }
}

resource "aws_sagemaker_endpoint_configuration" "instance" {
  name        = "localaws-instance"
  kms_key_arn = aws_kms_key.this.arn

  production_variants {
    variant_name           = "AllTraffic"
    model_name             = aws_sagemaker_model.this.name
    instance_type          = "ml.t2.medium"
    initial_instance_count = 1
  }

  data_capture_config {
    enable_capture              = true
    initial_sampling_percentage = 50
    destination_s3_uri          = "s3://${aws_s3_bucket.this.id}/capture"

    capture_options {
      capture_mode = "Input"
    }

    capture_options {
      capture_mode = "Output"
    }
  }
}

resource "aws_sagemaker_endpoint_configuration" "serverless" {
  name = "localaws-serverless"

  production_variants {
    variant_name = "AllTraffic"
    model_name   = aws_sagemaker_model.this.name

    serverless_config {
      memory_size_in_mb = 2048
      max_concurrency   = 5
    }
  }
}

resource "aws_sagemaker_endpoint" "this" {
  name                 = "localaws"
  endpoint_config_name = aws_sagemaker_endpoint_configuration.instance.name
}

output "function" {
  value = aws_lambda_function.this.function_name
}

output "region" {
  value = data.aws_region.current.name
}
