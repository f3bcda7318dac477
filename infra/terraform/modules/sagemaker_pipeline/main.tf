# Retraining with CamemBERT on Amazon SageMaker. Jobs, models and the endpoint are made by the
# Lambdas, one of each a run; what they are made from and what they may do is here.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  arn = join(":", [
    "arn", data.aws_partition.current.partition, "sagemaker", data.aws_region.current.name,
    data.aws_caller_identity.current.account_id,
  ])
  job      = "${local.arn}:training-job/${var.name}-*"
  model    = "${local.arn}:model/${var.name}-*"
  config   = "${local.arn}:endpoint-config/${var.name}-*"
  endpoint = "${local.arn}:endpoint/${var.name}"
  images   = toset(["training", "inference"])
}

module "datasets" {
  source = "../storage"

  bucket        = "${var.name}-sagemaker-datasets-${data.aws_caller_identity.current.account_id}"
  force_destroy = var.force_destroy
  kms_key_arn   = var.settings.kms_key_arn
}

module "artifacts" {
  source = "../storage"

  bucket        = "${var.name}-sagemaker-artifacts-${data.aws_caller_identity.current.account_id}"
  force_destroy = var.force_destroy
  kms_key_arn   = var.settings.kms_key_arn
  texts_days    = var.settings.run_texts_days
}

module "retraining" {
  source = "../retraining"

  name             = "${var.name}-sagemaker"
  description      = "Retraining of the intent classifier on Amazon SageMaker"
  dataset_bucket   = module.datasets
  artifact_bucket  = module.artifacts
  service          = "sagemaker.amazonaws.com"
  service_role_arn = aws_iam_role.service.arn
  models_have_role = true
  policies         = { for key, document in data.aws_iam_policy_document.lambda : key => document.json }
  budgeted_service = "Amazon SageMaker"
  settings         = var.settings

  lambda_environment = merge(var.lambda_environment, {
    BACKEND                 = "sagemaker"
    TRAINING_IMAGE          = "${aws_ecr_repository.this["training"].repository_url}:${var.sagemaker.image_tag}"
    INFERENCE_IMAGE         = "${aws_ecr_repository.this["inference"].repository_url}:${var.sagemaker.image_tag}"
    HYPERPARAMETERS         = jsonencode(var.sagemaker.hyperparameters)
    TRAINING_INSTANCE_TYPE  = var.sagemaker.training_instance_type
    TRAINING_VOLUME_GB      = var.sagemaker.training_volume_gb
    TRAINING_MAX_SECONDS    = var.sagemaker.training_max_seconds
    ENDPOINT_INSTANCE_TYPE  = var.sagemaker.endpoint_instance_type
    ENDPOINT_INSTANCE_COUNT = var.sagemaker.instance_count
    SERVERLESS_MEMORY_MB    = var.sagemaker.serverless_memory_mb
    SERVERLESS_CONCURRENCY  = var.sagemaker.serverless_concurrency
    ROLLBACK_ALARMS         = join(",", keys(local.endpoint_alarms))
  })
}

# --- the images, see infra/sagemaker ---

resource "aws_ecr_repository" "this" {
  for_each = local.images

  name                 = "${var.name}-camembert-${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.force_destroy

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = var.settings.kms_key_arn == "" ? "AES256" : "KMS"
    kms_key         = var.settings.kms_key_arn == "" ? null : var.settings.kms_key_arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = local.images

  repository = aws_ecr_repository.this[each.key].name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      # An image with a tag may be the one that a rollback needs; tags cannot be replaced.
      description = "Delete images without a tag after a month"
      selection   = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 30 }
      action      = { type = "expire" }
    }]
  })
}

# --- the endpoint's log: made here, or SageMaker makes one that keeps everything for ever ---

resource "aws_cloudwatch_log_group" "endpoint" {
  name              = "/aws/sagemaker/Endpoints/${var.name}"
  retention_in_days = var.settings.log_retention_days
  kms_key_id        = var.settings.kms_key_arn == "" ? null : var.settings.kms_key_arn
}

# --- an endpoint that answers badly, or late: people are told, and an update to it is rolled back ---

locals {
  endpoint_alarms = {
    "${var.name}-sagemaker-errors" = {
      description = "The endpoint ${var.name} answers with errors; its log group says why."
      metric      = "Invocation5XXErrors"
      statistic   = "Sum"
      threshold   = 5
    }
    "${var.name}-sagemaker-latency" = {
      description = "The endpoint ${var.name} needs more than a second: a larger instance, or more of them."
      metric      = "ModelLatency"
      statistic   = "Average"
      threshold   = 1000000 # microseconds
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "endpoint" {
  for_each = local.endpoint_alarms

  alarm_name          = each.key
  alarm_description   = each.value.description
  namespace           = "AWS/SageMaker"
  metric_name         = each.value.metric
  dimensions          = { EndpointName = var.name, VariantName = "AllTraffic" }
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = [module.retraining.topic_arn]
}

# --- what SageMaker may do when it trains and serves ---

data "aws_iam_policy_document" "service_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["sagemaker.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "service" {
  name               = "${var.name}-sagemaker-execution"
  assume_role_policy = data.aws_iam_policy_document.service_trust.json
}

data "aws_iam_policy_document" "service" {
  source_policy_documents = [var.settings.key_policy]

  statement {
    sid       = "ReadTheChannelsAndWriteTheModel"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${module.artifacts.arn}/runs/*"]
  }

  statement {
    sid       = "FindTheChannels"
    actions   = ["s3:ListBucket"]
    resources = [module.artifacts.arn]
  }

  statement {
    sid       = "PullTheImages"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [for repository in aws_ecr_repository.this : repository.arn]
  }

  statement {
    # These operations know no resource; the metrics are held to SageMaker's own.
    sid       = "SignInToTheRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "PublishTheMetricsOfTheTraining"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringLike"
      variable = "cloudwatch:namespace"
      values   = ["/aws/sagemaker/*", "aws/sagemaker/*"]
    }
  }

  statement {
    sid = "WriteLogs"
    actions = [
      "logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents",
    ]
    resources = [
      for group in ["TrainingJobs", "Endpoints/${var.name}"] : join(":", [
        "arn", data.aws_partition.current.partition, "logs", data.aws_region.current.name,
        data.aws_caller_identity.current.account_id, "log-group", "/aws/sagemaker/${group}*",
      ])
    ]
  }
}

resource "aws_iam_role_policy" "service" {
  name   = "training-and-serving"
  role   = aws_iam_role.service.id
  policy = data.aws_iam_policy_document.service.json
}

# --- what the Lambdas may do ---

locals {
  calls = {
    start_training = {
      (local.job) = ["CreateTrainingJob", "DescribeTrainingJob", "AddTags"]
    }
    check_model_status = {
      (local.job)      = ["DescribeTrainingJob"]
      (local.model)    = ["DeleteModel"]
      (local.config)   = ["DeleteEndpointConfig"]
      (local.endpoint) = ["DescribeEndpoint"]
    }
    create_endpoint = {
      (local.model) = ["CreateModel", "DeleteModel", "AddTags"]
      (local.config) = [
        "CreateEndpointConfig", "DescribeEndpointConfig", "DeleteEndpointConfig", "CreateEndpoint", "UpdateEndpoint", "AddTags",
      ]
      (local.endpoint) = [
        "CreateEndpoint", "UpdateEndpoint", "DeleteEndpoint", "DescribeEndpoint", "InvokeEndpoint", "AddTags",
      ]
    }
  }
}

data "aws_iam_policy_document" "lambda" {
  for_each = local.calls

  dynamic "statement" {
    for_each = each.value

    content {
      actions   = [for call in statement.value : "sagemaker:${call}"]
      resources = [statement.key]
    }
  }

  # SageMaker looks at the alarms with the rights of who updates the endpoint.
  dynamic "statement" {
    for_each = each.key == "create_endpoint" ? [[for name in keys(local.endpoint_alarms) : join(":", [
      "arn", data.aws_partition.current.partition, "cloudwatch", data.aws_region.current.name,
      data.aws_caller_identity.current.account_id, "alarm", name,
    ])]] : []

    content {
      sid       = "LookAtTheAlarms"
      actions   = ["cloudwatch:DescribeAlarms"]
      resources = statement.value
    }
  }

  # An update needs twice the instances. The list knows no resource.
  dynamic "statement" {
    for_each = each.key == "create_endpoint" ? ["*"] : []

    content {
      sid       = "LookAtTheQuotas"
      actions   = ["servicequotas:ListServiceQuotas"]
      resources = [statement.value]
    }
  }

  # SageMaker refuses images of OCI's format, but only after the training.
  dynamic "statement" {
    for_each = each.key == "start_training" ? [[for repository in aws_ecr_repository.this : repository.arn]] : []

    content {
      sid       = "LookAtTheImages"
      actions   = ["ecr:DescribeImages"]
      resources = statement.value
    }
  }

  # The file of a model goes with it; Comprehend keeps its models itself.
  dynamic "statement" {
    for_each = each.key == "start_training" ? [] : ["${module.artifacts.arn}/runs/*"]

    content {
      sid       = "DeleteOldModels"
      actions   = ["s3:DeleteObject"]
      resources = [statement.value]
    }
  }
}
