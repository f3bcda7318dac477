output "state_machine_arn" {
  description = "ARN of the state machine."
  value       = aws_sfn_state_machine.this["state_machine"].arn
}

output "office_hours_role_arn" {
  description = "ARN of the role for `bot comprehend endpoint schedule --role-arn`."
  value       = aws_iam_role.scheduler.arn
}

output "topic_arn" {
  description = "ARN of the topic that tells how a retraining ended."
  value       = aws_sns_topic.notices.arn
}

output "dead_letter_queue_url" {
  description = "URL of the queue with the events that could not be handled."
  value       = aws_sqs_queue.dead_letters.url
}

output "function_names" {
  description = "Function to the name of its Lambda."
  value       = local.function_names
}
