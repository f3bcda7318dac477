locals {
  # Trouble of Lambda's own passes; so does most of what the functions raise (throttling, a network
  # that is down), and each of them can be called again.
  retry = <<-JSON
    [
      {
        "ErrorEquals": [
          "Lambda.ServiceException",
          "Lambda.AWSLambdaException",
          "Lambda.SdkClientException",
          "Lambda.TooManyRequestsException"
        ],
        "IntervalSeconds": 2,
        "MaxAttempts": 6,
        "BackoffRate": 2.0
      },
      {
        "ErrorEquals": ["States.TaskFailed", "States.Timeout"],
        "IntervalSeconds": 5,
        "MaxAttempts": 3,
        "BackoffRate": 2.0
      }
    ]
  JSON
}

# A dataset's way to the endpoint, and the endpoint's office hours.
resource "aws_sfn_state_machine" "this" {
  for_each = local.state_machines

  name     = each.value
  role_arn = aws_iam_role.state_machine.arn

  definition = templatefile("${path.module}/${each.key}.asl.json", {
    description            = var.description
    partition              = data.aws_partition.current.partition
    poll_seconds           = var.settings.poll_seconds
    timeout_seconds        = var.settings.execution_timeout_seconds
    start_training         = aws_lambda_function.this["start_training"].arn
    start_timeout_seconds  = local.functions.start_training.timeout + 30
    check_model_status     = aws_lambda_function.this["check_model_status"].arn
    check_timeout_seconds  = local.functions.check_model_status.timeout + 30
    create_endpoint        = aws_lambda_function.this["create_endpoint"].arn
    create_timeout_seconds = local.functions.create_endpoint.timeout + 30
    topic                  = aws_sns_topic.notices.arn
    retry                  = local.retry
  })

  logging_configuration {
    level                  = "ERROR"
    include_execution_data = true
    log_destination        = "${aws_cloudwatch_log_group.state_machine.arn}:*"
  }

  dynamic "tracing_configuration" {
    for_each = var.settings.tracing ? [true] : []

    content {
      enabled = tracing_configuration.value
    }
  }

  depends_on = [aws_iam_role_policy.state_machine]
}

resource "aws_cloudwatch_log_group" "state_machine" {
  # AWS's own prefix: log groups of other names fill a resource policy that has a limit.
  name              = "/aws/vendedlogs/states/${var.name}"
  retention_in_days = var.settings.log_retention_days
  kms_key_id        = local.kms_key_arn
}

data "aws_iam_policy_document" "trust" {
  for_each = toset(["states", "scheduler"])

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "state_machine" {
  name               = "${var.name}-state-machine"
  assume_role_policy = data.aws_iam_policy_document.trust["states"].json
}

data "aws_iam_policy_document" "state_machine" {
  source_policy_documents = [data.aws_iam_policy_document.common.json]

  statement {
    sid       = "Call"
    actions   = ["lambda:InvokeFunction"]
    resources = [for function in aws_lambda_function.this : function.arn]
  }

  statement {
    sid       = "Notice"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]
  }

  statement {
    # These operations know no resource.
    sid = "DeliverItsLog"
    actions = [
      "logs:CreateLogDelivery",
      "logs:GetLogDelivery",
      "logs:UpdateLogDelivery",
      "logs:DeleteLogDelivery",
      "logs:ListLogDeliveries",
      "logs:PutResourcePolicy",
      "logs:DescribeResourcePolicies",
      "logs:DescribeLogGroups",
    ]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "state_machine" {
  name   = "pipeline"
  role   = aws_iam_role.state_machine.id
  policy = data.aws_iam_policy_document.state_machine.json
}

# --- who keeps office hours: `bot comprehend endpoint schedule --role-arn` ---

resource "aws_iam_role" "scheduler" {
  name               = "${var.name}-office-hours"
  assume_role_policy = data.aws_iam_policy_document.trust["scheduler"].json
}

data "aws_iam_policy_document" "scheduler" {
  source_policy_documents = [var.settings.key_policy]

  statement {
    sid       = "OpenAndClose"
    actions   = ["states:StartExecution"]
    resources = [aws_sfn_state_machine.this["office_hours"].arn]
  }

  statement {
    sid       = "WhatCannotBeDelivered"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]
  }
}

resource "aws_iam_role_policy" "scheduler" {
  name   = "office-hours"
  role   = aws_iam_role.scheduler.id
  policy = data.aws_iam_policy_document.scheduler.json
}
