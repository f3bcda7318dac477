terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

# Credentials, region and endpoint come from AWS's own chain (AWS_PROFILE, AWS_REGION,
# AWS_ENDPOINT_URL for a local AWS).
provider "aws" {
  region            = var.region
  max_retries       = var.max_retries
  s3_use_path_style = var.s3_use_path_style

  default_tags {
    tags = merge({
      Project     = var.project
      Environment = var.environment
      ManagedBy   = "terraform"
    }, var.tags)
  }
}
