variable "name" {
  description = "Prefix of every name: project, environment and solution."
  type        = string
}

variable "description" {
  description = "What is retrained, for the consoles of AWS."
  type        = string
}

variable "dataset_bucket" {
  description = "Bucket that datasets are put into."
  type = object({
    name = string
    arn  = string
  })
}

variable "artifact_bucket" {
  description = "Bucket that keeps the runs."
  type = object({
    name = string
    arn  = string
  })
}

variable "service" {
  description = "The service that trains and serves, such as comprehend.amazonaws.com."
  type        = string
}

variable "service_role_arn" {
  description = "Role that the Lambdas pass to the service, and to no other."
  type        = string
}

variable "models_have_role" {
  description = "Whether what is deployed takes on the service's role, too, as SageMaker's models do."
  type        = bool
}

variable "policies" {
  description = "Function to the IAM policy (JSON) with what it may ask of the service."
  type = object({
    start_training     = string
    check_model_status = string
    create_endpoint    = string
  })
}

variable "lambda_environment" {
  description = "Environment variables of the Lambdas (bot/retraining/settings.py) beside those that this module knows itself."
  type        = map(string)
}

variable "budgeted_service" {
  description = "The service's name on the bill, such as Amazon Comprehend."
  type        = string
}

variable "settings" {
  description = "What does not depend on the solution: see the root module's variables of these names."
  type = object({
    lambda_zip                = string
    lambda_runtime            = string
    poll_seconds              = number
    execution_timeout_seconds = number
    notification_emails       = set(string)
    log_retention_days        = number
    monthly_budget_usd        = number
    kms_key_arn               = string
    key_policy                = string
    tracing                   = bool
    reserved_concurrency      = number
  })
}
