locals {
  alarms = merge(
    {
      for key, name in local.function_names : "${name}-errors" => {
        description = "The Lambda ${name} failed; its log group says why."
        namespace   = "AWS/Lambda"
        metric      = "Errors"
        dimensions  = { FunctionName = name }
      }
    },
    {
      for pair in setproduct(values(local.state_machines), ["ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"]) :
      "${pair[0]}-${pair[1]}" => {
        description = "An execution of ${pair[0]} ended badly; it and the notice say why. An endpoint may be there, and billed, that should not, or the other way round."
        namespace   = "AWS/States"
        metric      = pair[1]
        dimensions  = { StateMachineArn = replace(local.state_machine_arn, "/[^:]+$/", pair[0]) }
      }
    },
    {
      "${var.name}-dead-letters" = {
        description = "A dataset could not even be looked at, or office hours not begin or end; the event waits in the queue ${aws_sqs_queue.dead_letters.name}."
        namespace   = "AWS/SQS"
        metric      = "ApproximateNumberOfMessagesVisible"
        dimensions  = { QueueName = aws_sqs_queue.dead_letters.name }
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = each.key
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.notices.arn]
}

# What the service costs in the whole account: AWS tells services apart without further ado, but not
# tags.
resource "aws_budgets_budget" "this" {
  count = var.settings.monthly_budget_usd > 0 ? 1 : 0

  name         = var.name
  budget_type  = "COST"
  limit_amount = var.settings.monthly_budget_usd
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "Service"
    values = [var.budgeted_service]
  }

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type         = notification.key
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      comparison_operator       = "GREATER_THAN"
      subscriber_sns_topic_arns = [aws_sns_topic.notices.arn]
    }
  }

  # Budgets tries the topic.
  depends_on = [aws_sns_topic_policy.notices]
}
