output "comprehend" {
  description = "The pipeline of Comprehend: buckets, endpoint, state machine, notices. Null where it is not built."
  value       = one(module.comprehend_pipeline)
}

output "sagemaker" {
  description = "The pipeline of SageMaker: buckets, endpoint, image repositories, state machine, notices. Null where it is not built."
  value       = one(module.sagemaker_pipeline)
}
