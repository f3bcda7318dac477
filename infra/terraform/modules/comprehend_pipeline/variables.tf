variable "name" {
  description = "Project and environment; names the classifier and the endpoint."
  type        = string
}

variable "region" {
  description = "Region of the pipeline."
  type        = string

  validation {
    condition = contains([
      "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
      "ca-central-1", "eu-central-1", "eu-west-1", "eu-west-2", "us-east-1", "us-east-2",
      "us-gov-west-1", "us-west-2",
    ], var.region)
    error_message = "Amazon Comprehend is not offered in this region (in Paris, say). In Europe choose eu-central-1 (Frankfurt), eu-west-1 (Ireland) or eu-west-2 (London)."
  }
}

variable "lambda_environment" {
  description = "Environment variables of the Lambdas that do not depend on the solution."
  type        = map(string)
}

variable "inference_units" {
  description = "Inference units of the endpoint; each answers 100 characters and 2 texts a second, and is billed by the second as long as the endpoint exists."
  type        = number

  validation {
    condition     = var.inference_units >= 1 && var.inference_units <= 10
    error_message = "An endpoint has 1 to 10 inference units."
  }
}

variable "settings" {
  description = "What modules/retraining needs, whatever the solution."
  type = object({
    lambda_zip                = string
    lambda_runtime            = string
    poll_seconds              = number
    execution_timeout_seconds = number
    notification_emails       = set(string)
    log_retention_days        = number
    run_texts_days            = number
    monthly_budget_usd        = number
    kms_key_arn               = string
    key_policy                = string
    tracing                   = bool
    reserved_concurrency      = number
  })
}

variable "force_destroy" {
  description = "Whether `terraform destroy` also deletes datasets and models."
  type        = bool
}
