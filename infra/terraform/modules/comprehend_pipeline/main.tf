# Retraining with Amazon Comprehend. The classifier and its endpoint are made by the Lambdas: the
# endpoint has no resource in Terraform, and a classifier trains longer than an apply should take.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  arn = join(":", [
    "arn", data.aws_partition.current.partition, "comprehend", var.region,
    data.aws_caller_identity.current.account_id,
  ])
  classifier = "${local.arn}:document-classifier/${var.name}"
  versions   = "${local.classifier}/version/*"
  endpoint   = "${local.arn}:document-classifier-endpoint/${var.name}"
}

module "datasets" {
  source = "../storage"

  bucket        = "${var.name}-comprehend-datasets-${data.aws_caller_identity.current.account_id}"
  force_destroy = var.force_destroy
  kms_key_arn   = var.settings.kms_key_arn
}

module "artifacts" {
  source = "../storage"

  bucket        = "${var.name}-comprehend-artifacts-${data.aws_caller_identity.current.account_id}"
  force_destroy = var.force_destroy
  kms_key_arn   = var.settings.kms_key_arn
  texts_days    = var.settings.run_texts_days
}

module "retraining" {
  source = "../retraining"

  name             = "${var.name}-comprehend"
  description      = "Retraining of the intent classifier on Amazon Comprehend"
  dataset_bucket   = module.datasets
  artifact_bucket  = module.artifacts
  service          = "comprehend.amazonaws.com"
  service_role_arn = aws_iam_role.service.arn
  models_have_role = var.settings.kms_key_arn != "" # by which Comprehend decrypts them
  policies         = { for key, document in data.aws_iam_policy_document.lambda : key => document.json }
  budgeted_service = "Amazon Comprehend"
  settings         = var.settings

  lambda_environment = merge(var.lambda_environment, {
    BACKEND         = "comprehend"
    INFERENCE_UNITS = var.inference_units
  })
}

# --- what Comprehend may do when it trains ---

data "aws_iam_policy_document" "service_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["comprehend.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "service" {
  name               = "${var.name}-comprehend-data-access"
  assume_role_policy = data.aws_iam_policy_document.service_trust.json
}

data "aws_iam_policy_document" "service" {
  source_policy_documents = [var.settings.key_policy]

  statement {
    sid       = "ReadTheTrainingFileAndWriteTheResult"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${module.artifacts.arn}/runs/*"]
  }

  statement {
    sid       = "FindTheTrainingFile"
    actions   = ["s3:ListBucket"]
    resources = [module.artifacts.arn]
  }
}

resource "aws_iam_role_policy" "service" {
  name   = "artifacts"
  role   = aws_iam_role.service.id
  policy = data.aws_iam_policy_document.service.json
}

# --- what the Lambdas may do ---

locals {
  calls = {
    start_training = {
      (local.classifier) = ["CreateDocumentClassifier", "DescribeDocumentClassifier", "TagResource"]
      (local.versions)   = ["CreateDocumentClassifier", "DescribeDocumentClassifier", "TagResource"]
      "*"                = ["ListDocumentClassifiers"]
    }
    check_model_status = {
      (local.versions) = ["DescribeDocumentClassifier", "DeleteDocumentClassifier"]
      (local.endpoint) = ["DescribeEndpoint"]
    }
    create_endpoint = {
      (local.versions) = ["DescribeDocumentClassifier", "DeleteDocumentClassifier", "CreateEndpoint", "UpdateEndpoint"]
      (local.endpoint) = [
        "CreateEndpoint", "UpdateEndpoint", "DeleteEndpoint", "DescribeEndpoint", "ClassifyDocument", "TagResource",
      ]
      "*" = ["ListEndpoints"]
    }
  }
}

# Lists know no resource, hence the "*".
data "aws_iam_policy_document" "lambda" {
  for_each = local.calls

  dynamic "statement" {
    for_each = each.value

    content {
      actions   = [for call in statement.value : "comprehend:${call}"]
      resources = [statement.key]
    }
  }
}
