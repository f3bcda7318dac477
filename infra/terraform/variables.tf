# --- names and place ---

variable "project" {
  description = "First part of every name."
  type        = string
  default     = "skills-bot"

  validation {
    condition     = can(regex("^[a-z0-9](-?[a-z0-9])*$", var.project)) && length(var.project) <= 20
    error_message = "The project has up to 20 lower-case letters, digits and single hyphens, with a letter or digit at both ends."
  }
}

variable "environment" {
  description = "Second part of every name, so that one account can hold several."
  type        = string
  default     = "dev"

  validation {
    condition     = can(regex("^[a-z0-9]{1,8}$", var.environment))
    error_message = "The environment has up to 8 lower-case letters and digits, such as dev or prod."
  }
}

variable "region" {
  description = "AWS region. Comprehend's endpoints are not offered in each: not in Paris, for one."
  type        = string
  default     = "eu-west-1"

  validation {
    condition     = can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region looks like eu-west-1."
  }
}

variable "tags" {
  description = "Tags of every resource, beside Project, Environment and ManagedBy."
  type        = map(string)
  default     = {}
}

# --- what is built ---

variable "enable_comprehend" {
  description = "Whether to build the pipeline of Amazon Comprehend."
  type        = bool
  default     = true
}

variable "enable_sagemaker" {
  description = "Whether to build the pipeline of CamemBERT on Amazon SageMaker."
  type        = bool
  default     = true
}

variable "force_destroy" {
  description = "Whether `terraform destroy` also deletes datasets, models and images. Leave it false where they matter."
  type        = bool
  default     = false
}

# --- Lambdas and state machine ---

variable "lambda_zip" {
  description = "The Lambdas' archive, built by `python infra/lambda/build.py`."
  type        = string

  validation {
    condition     = fileexists(var.lambda_zip)
    error_message = "There is no such file: build it with `python infra/lambda/build.py`."
  }
}

variable "lambda_runtime" {
  description = "Python of the Lambdas."
  type        = string
  default     = "python3.13"

  validation {
    condition     = contains(["python3.12", "python3.13"], var.lambda_runtime)
    error_message = "The Lambdas run on python3.12 and python3.13."
  }
}

variable "poll_seconds" {
  description = "Seconds between two looks at a training or at an endpoint that is being deployed."
  type        = number
  default     = 120

  validation {
    condition     = var.poll_seconds >= 1 && floor(var.poll_seconds) == var.poll_seconds
    error_message = "Wait a whole number of seconds, at least 1."
  }
}

variable "execution_timeout_seconds" {
  description = "Seconds after which a retraining that has not ended counts as failed."
  type        = number
  default     = 21600

  validation {
    condition     = var.execution_timeout_seconds >= 60
    error_message = "Give a retraining at least a minute."
  }
}

# --- datasets and quality gate ---

variable "minimum_examples" {
  description = "Examples that each intent of a dataset must have."
  type        = number
  default     = 10

  validation {
    condition     = var.minimum_examples >= 10
    error_message = "Comprehend trains on at least 10 examples an intent."
  }
}

variable "recommended_examples" {
  description = "Examples of an intent below which the notice warns."
  type        = number
  default     = 50
}

variable "gate" {
  description = "When a new model may go live: what it may lose against the live one on the held-out set (max_loss), and what it must reach in any case (floor). The metric is macro_f1 or accuracy."
  type = object({
    metric   = optional(string, "macro_f1")
    max_loss = optional(number, 0.01)
    floor    = optional(number, 0.5)
  })
  default = {}

  validation {
    condition     = contains(["macro_f1", "accuracy"], var.gate.metric)
    error_message = "The metric is macro_f1 or accuracy."
  }

  validation {
    condition = alltrue([
      for share in [var.gate.max_loss, var.gate.floor] : share >= 0 && share <= 1
    ])
    error_message = "max_loss and floor are shares from 0 to 1."
  }
}

variable "approval" {
  description = "Whether a model that passes the gate goes live by itself (automatic) or by `bot pipeline approve RUN` (manual): each deployment may make an endpoint that costs $1,300 a month."
  type        = string
  default     = "automatic"

  validation {
    condition     = contains(["automatic", "manual"], var.approval)
    error_message = "The approval is automatic or manual."
  }
}

variable "maximum_bytes" {
  description = "Size above which a dataset is rejected unread: what the function can read in its time and memory."
  type        = number
  default     = 10000000
}

variable "quota_wait_hours" {
  description = "Hours that a training waits for a quota that is used up."
  type        = number
  default     = 3
}

variable "keep_versions" {
  description = "Newest models that are kept besides the live one and its predecessor."
  type        = number
  default     = 3

  validation {
    condition     = var.keep_versions >= 0
    error_message = "Keep 0 or more models."
  }
}

# --- Comprehend ---

variable "inference_units" {
  description = "Inference units of Comprehend's endpoint, 1 to 10. Each answers 100 characters and 2 texts a second and is billed by the second as long as the endpoint exists."
  type        = number
  default     = 1
}

# --- SageMaker ---

variable "sagemaker" {
  description = "Images and machines of SageMaker. The hyper-parameters are the keys of components.camembert.CamembertIntentClassifier; a memory of 1024 to 6144 MB makes the endpoint serverless, 0 does not."
  type = object({
    image_tag              = optional(string, "0.1.0")
    hyperparameters        = optional(any, {})
    training_instance_type = optional(string, "ml.m5.xlarge")
    training_volume_gb     = optional(number, 30)
    training_max_seconds   = optional(number, 7200)
    endpoint_instance_type = optional(string, "ml.m5.large")
    instance_count         = optional(number, 1)
    serverless_memory_mb   = optional(number, 0)
    serverless_concurrency = optional(number, 5)
  })
  default = {}

  validation {
    condition     = contains([0, 1024, 2048, 3072, 4096, 5120, 6144], var.sagemaker.serverless_memory_mb)
    error_message = "serverless_memory_mb is 0 (no serverless endpoint) or 1024 to 6144 in steps of 1024."
  }

  validation {
    condition     = var.sagemaker.serverless_concurrency >= 1 && var.sagemaker.serverless_concurrency <= 200
    error_message = "serverless_concurrency is 1 to 200."
  }

  validation {
    condition = alltrue([
      for type in [var.sagemaker.training_instance_type, var.sagemaker.endpoint_instance_type] :
      startswith(type, "ml.")
    ])
    error_message = "SageMaker's instance types begin with \"ml.\", such as ml.m5.large."
  }
}

# --- operation ---

variable "notification_emails" {
  description = "Addresses that hear how a retraining ended, of alarms and of the budget. AWS asks each to confirm."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.notification_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "These must be e-mail addresses."
  }
}

variable "monthly_budget_usd" {
  description = "US dollars a month and service above which the budget alarm goes off (at 80 %, and at a forecast of 100 %); 0: no budget. A Comprehend endpoint that is never stopped costs about 1300."
  type        = number
  default     = 100

  validation {
    condition     = var.monthly_budget_usd >= 0
    error_message = "A budget is not negative; 0 means none."
  }
}

variable "kms_key_arn" {
  description = "Your own KMS key for buckets, notices, queue, logs, settings, models and volumes; empty: AWS's keys. Its policy must let CloudWatch's logs and alarms, Budgets and EventBridge use it."
  type        = string
  default     = ""

  validation {
    condition     = var.kms_key_arn == "" || can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "The ARN of a key looks like arn:aws:kms:eu-west-1:123456789012:key/…"
  }
}

variable "tracing" {
  description = "Whether X-Ray traces functions and state machines."
  type        = bool
  default     = false
}

variable "reserved_concurrency" {
  description = "Executions at once that each function keeps for itself, and may not exceed; -1: none, which is all that a new account allows."
  type        = number
  default     = -1
}

variable "log_retention_days" {
  description = "Days that logs are kept; CloudWatch takes these alone."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, … days."
  }
}

variable "run_texts_days" {
  description = "Days after which the copies of datasets that runs keep are deleted, and for good after another 90; 0: never. Records, figures and models stay."
  type        = number
  default     = 0

  validation {
    condition     = var.run_texts_days == 0 || var.run_texts_days >= 7
    error_message = "Keep the texts of a run for at least 7 days, in which it may be retried; 0: for ever."
  }
}

# --- provider ---

variable "max_retries" {
  description = "Tries of the provider for a call; null leaves its own number (25)."
  type        = number
  default     = null
}

variable "s3_use_path_style" {
  description = "Whether buckets stand in the path of an address; a local AWS needs it."
  type        = bool
  default     = false
}
