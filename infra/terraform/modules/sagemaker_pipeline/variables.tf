variable "name" {
  description = "Project and environment; names the endpoint and begins the names of jobs and models."
  type        = string
}

variable "lambda_environment" {
  description = "Environment variables of the Lambdas that do not depend on the solution."
  type        = map(string)
}

variable "sagemaker" {
  description = "Images and machines: see the root module's variable of this name."
  type = object({
    image_tag              = string
    hyperparameters        = any
    training_instance_type = string
    training_volume_gb     = number
    training_max_seconds   = number
    endpoint_instance_type = string
    instance_count         = number
    serverless_memory_mb   = number
    serverless_concurrency = number
  })
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
  description = "Whether `terraform destroy` also deletes datasets, models and images."
  type        = bool
}
