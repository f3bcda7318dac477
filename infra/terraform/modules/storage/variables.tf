variable "bucket" {
  description = "Name of the bucket; unique among all AWS accounts."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "noncurrent_version_days" {
  description = "Days after which an overwritten or deleted version of an object is gone for good."
  type        = number
  default     = 90

  validation {
    condition     = var.noncurrent_version_days >= 1
    error_message = "Keep old versions for at least a day."
  }
}

variable "texts_days" {
  description = "Days after which what people wrote (objects tagged content=texts) is deleted; 0: never."
  type        = number
  default     = 0
}

variable "kms_key_arn" {
  description = "Key that encrypts what is in the bucket; empty: S3's own."
  type        = string
  default     = ""
}

variable "force_destroy" {
  description = "Whether `terraform destroy` also deletes what is in the bucket."
  type        = bool
  default     = false
}
