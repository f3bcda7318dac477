# Retraining without a hand, for either solution or both. See README.md.

locals {
  name = "${var.project}-${var.environment}"

  lambda_environment = {
    PROJECT              = var.project
    ENVIRONMENT          = var.environment
    MINIMUM_EXAMPLES     = var.minimum_examples
    RECOMMENDED_EXAMPLES = var.recommended_examples
    GATE_METRIC          = var.gate.metric
    GATE_MAX_LOSS        = var.gate.max_loss
    GATE_FLOOR           = var.gate.floor
    KEEP_VERSIONS        = var.keep_versions
    APPROVAL             = var.approval
    MAXIMUM_BYTES        = var.maximum_bytes
    QUOTA_WAIT_HOURS     = var.quota_wait_hours
    KMS_KEY_ARN          = var.kms_key_arn
  }

  settings = {
    lambda_zip                = var.lambda_zip
    lambda_runtime            = var.lambda_runtime
    poll_seconds              = var.poll_seconds
    execution_timeout_seconds = var.execution_timeout_seconds
    notification_emails       = var.notification_emails
    log_retention_days        = var.log_retention_days
    run_texts_days            = var.run_texts_days
    monthly_budget_usd        = var.monthly_budget_usd
    kms_key_arn               = var.kms_key_arn
    key_policy                = data.aws_iam_policy_document.key.json
    tracing                   = var.tracing
    reserved_concurrency      = var.reserved_concurrency
  }
}

# Of every role that reads or writes what your own key encrypts; empty without one.
data "aws_iam_policy_document" "key" {
  dynamic "statement" {
    for_each = var.kms_key_arn == "" ? [] : [var.kms_key_arn]

    content {
      sid       = "UseTheKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey", "kms:CreateGrant"]
      resources = [statement.value]
    }
  }
}

module "comprehend_pipeline" {
  source = "./modules/comprehend_pipeline"
  count  = var.enable_comprehend ? 1 : 0

  name               = local.name
  region             = var.region
  inference_units    = var.inference_units
  lambda_environment = local.lambda_environment
  settings           = local.settings
  force_destroy      = var.force_destroy
}

module "sagemaker_pipeline" {
  source = "./modules/sagemaker_pipeline"
  count  = var.enable_sagemaker ? 1 : 0

  name               = local.name
  sagemaker          = var.sagemaker
  lambda_environment = local.lambda_environment
  settings           = local.settings
  force_destroy      = var.force_destroy
}

module "no_comprehend_endpoint" {
  source = "./modules/no_endpoint"
  count  = var.enable_comprehend ? 1 : 0

  name   = local.name
  bucket = module.comprehend_pipeline[0].artifact_bucket
  look   = "aws comprehend describe-endpoint --endpoint-arn ${module.comprehend_pipeline[0].endpoint_arn} --region ${var.region}"

  depends_on = [module.comprehend_pipeline]
}

module "no_sagemaker_endpoint" {
  source = "./modules/no_endpoint"
  count  = var.enable_sagemaker ? 1 : 0

  name   = local.name
  bucket = module.sagemaker_pipeline[0].artifact_bucket
  look   = "aws sagemaker describe-endpoint --endpoint-name ${local.name} --region ${var.region}"

  depends_on = [module.sagemaker_pipeline]
}
