output "dataset_bucket" {
  description = "Bucket that datasets are put into, below datasets/."
  value       = module.datasets.name
}

output "artifact_bucket" {
  description = "Bucket with the runs and the pointer to the live one."
  value       = module.artifacts.name
}

output "endpoint_name" {
  description = "Name of the endpoint that the pipeline makes."
  value       = var.name
}

output "retraining" {
  description = "State machine, notices, dead letters and functions, see modules/retraining."
  value       = module.retraining
}

output "repositories" {
  description = "Image (training, inference) to the URL of its repository."
  value       = { for key, repository in aws_ecr_repository.this : key => repository.repository_url }
}
