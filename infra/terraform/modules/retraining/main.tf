# What both pipelines have in common: a dataset in S3 starts a Lambda, the Lambda starts a training
# and a state machine, the state machine waits, deploys and tells how it ended.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  functions = {
    start_training = {
      description = "A dataset has arrived: check and convert it, start its training"
      # A whole processor: 10 MB of examples (MAXIMUM_BYTES) take it 12 s and 250 MB.
      memory  = 1769
      timeout = 300
    }
    check_model_status = {
      description = "How far a training or a deployment is"
      memory      = 256
      timeout     = 60
    }
    create_endpoint = {
      description = "Compare a trained model with the live one and deploy it"
      memory      = 512
      timeout     = 900 # it may have to measure the live model again, text by text
    }
  }
  function_names = {
    for key in keys(local.functions) : key => "${var.name}-${replace(key, "_", "-")}"
  }

  state_machines = {
    state_machine = var.name
    office_hours  = "${var.name}-office-hours"
  }

  kms_key_arn = var.settings.kms_key_arn == "" ? null : var.settings.kms_key_arn

  dataset_prefix = "datasets/"
  heldout_key    = "heldout/heldout.json"

  # By name, since the function that starts the state machine and those that it calls are one
  # resource: by reference they would wait for each other.
  state_machine_arn = join(":", [
    "arn", data.aws_partition.current.partition, "states", data.aws_region.current.name,
    data.aws_caller_identity.current.account_id, "stateMachine", var.name,
  ])
}

# --- functions ---

resource "aws_lambda_function" "this" {
  for_each = local.functions

  function_name    = local.function_names[each.key]
  description      = "${var.description}. ${each.value.description}."
  role             = aws_iam_role.lambda[each.key].arn
  runtime          = var.settings.lambda_runtime
  handler          = "bot.retraining.handlers.${each.key}"
  s3_bucket        = aws_s3_object.lambda.bucket
  s3_key           = aws_s3_object.lambda.key
  source_code_hash = filebase64sha256(var.settings.lambda_zip)
  memory_size      = each.value.memory
  timeout          = each.value.timeout
  kms_key_arn      = local.kms_key_arn

  reserved_concurrent_executions = var.settings.reserved_concurrency

  dynamic "tracing_config" {
    for_each = var.settings.tracing ? ["Active"] : []

    content {
      mode = tracing_config.value
    }
  }

  environment {
    variables = merge(var.lambda_environment, {
      ARTIFACT_BUCKET   = var.artifact_bucket.name
      DATASET_PREFIX    = local.dataset_prefix
      HELDOUT_KEY       = local.heldout_key
      ROLE_ARN          = var.service_role_arn
      STATE_MACHINE_ARN = local.state_machine_arn
      TOPIC_ARN         = aws_sns_topic.notices.arn
    })
  }

  # The log group first, or Lambda makes one that keeps everything for ever.
  depends_on = [aws_cloudwatch_log_group.lambda]
}

# By way of S3, since the archive is then sent once and the functions are made at the same time.
resource "aws_s3_object" "lambda" {
  bucket      = var.artifact_bucket.name
  key         = "lambda/${filesha256(var.settings.lambda_zip)}.zip"
  source      = var.settings.lambda_zip
  source_hash = filemd5(var.settings.lambda_zip)
}

resource "aws_cloudwatch_log_group" "lambda" {
  for_each = local.function_names

  name              = "/aws/lambda/${each.value}"
  retention_in_days = var.settings.log_retention_days
  kms_key_id        = local.kms_key_arn
}

# Where the event of a dataset goes when the function has failed three times.
resource "aws_lambda_function_event_invoke_config" "start_training" {
  function_name          = aws_lambda_function.this["start_training"].function_name
  maximum_retry_attempts = 2

  destination_config {
    on_failure {
      destination = aws_sqs_queue.dead_letters.arn
    }
  }

  # Lambda tries the permission.
  depends_on = [aws_iam_role_policy.start_training]
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600 # 14 days, the longest
  sqs_managed_sse_enabled   = local.kms_key_arn == null ? true : null
  kms_master_key_id         = local.kms_key_arn
}

# --- what the functions may do ---

data "aws_iam_policy_document" "lambda_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "lambda" {
  for_each = local.function_names

  name               = each.value
  assume_role_policy = data.aws_iam_policy_document.lambda_trust.json
}

# Of functions and state machines: your own key, X-Ray.
data "aws_iam_policy_document" "common" {
  source_policy_documents = [var.settings.key_policy]

  dynamic "statement" {
    for_each = var.settings.tracing ? ["*"] : [] # these operations know no resource

    content {
      sid = "Trace"
      actions = [
        "xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets",
      ]
      resources = [statement.value]
    }
  }
}

# Of all three: its log, and the artifacts of the runs.
data "aws_iam_policy_document" "lambda" {
  for_each = local.functions

  source_policy_documents = [var.policies[each.key], data.aws_iam_policy_document.common.json]

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.lambda[each.key].arn}:*"]
  }

  statement {
    sid       = "Artifacts"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${var.artifact_bucket.arn}/*"]
  }

  statement {
    # Without it an object that does not exist is "access denied".
    sid       = "FindArtifacts"
    actions   = ["s3:ListBucket"]
    resources = [var.artifact_bucket.arn]
  }
}

resource "aws_iam_role_policy" "lambda" {
  for_each = local.functions

  name   = "pipeline"
  role   = aws_iam_role.lambda[each.key].id
  policy = data.aws_iam_policy_document.lambda[each.key].json
}

data "aws_iam_policy_document" "pass_role" {
  statement {
    sid       = "PassTheServiceItsRole"
    actions   = ["iam:PassRole"]
    resources = [var.service_role_arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = [var.service]
    }
  }
}

data "aws_iam_policy_document" "start_training" {
  source_policy_documents = [data.aws_iam_policy_document.pass_role.json]

  statement {
    sid     = "ReadDatasets"
    actions = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = [
      "${var.dataset_bucket.arn}/${local.dataset_prefix}*",
      "${var.dataset_bucket.arn}/${local.heldout_key}",
    ]
  }

  statement {
    sid       = "FindDatasets"
    actions   = ["s3:ListBucket"]
    resources = [var.dataset_bucket.arn]
  }

  statement {
    # By which texts are found that are kept for a time alone.
    sid       = "TagTheTexts"
    actions   = ["s3:PutObjectTagging"]
    resources = ["${var.artifact_bucket.arn}/runs/*"]
  }

  statement {
    sid       = "StartTheStateMachine"
    actions   = ["states:StartExecution"]
    resources = [local.state_machine_arn]
  }

  statement {
    sid       = "TellOfABadDataset"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]
  }

  statement {
    sid       = "DeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]
  }
}

resource "aws_iam_role_policy" "start_training" {
  name   = "start"
  role   = aws_iam_role.lambda["start_training"].id
  policy = data.aws_iam_policy_document.start_training.json
}

# Both tell of what the state machine cannot: a quota that is used up, an execution that was stopped.
data "aws_iam_policy_document" "notice" {
  statement {
    sid       = "Tell"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]
  }
}

resource "aws_iam_role_policy" "notice" {
  for_each = toset(["check_model_status", "create_endpoint"])

  name   = "notice"
  role   = aws_iam_role.lambda[each.key].id
  policy = data.aws_iam_policy_document.notice.json
}

data "aws_iam_policy_document" "create_endpoint" {
  source_policy_documents = var.models_have_role ? [data.aws_iam_policy_document.pass_role.json] : []

  statement {
    sid       = "SeeWhetherAnotherRunDeploys"
    actions   = ["states:DescribeExecution"]
    resources = ["${replace(local.state_machine_arn, ":stateMachine:", ":execution:")}:*"]
  }
}

resource "aws_iam_role_policy" "create_endpoint" {
  name   = "deploy"
  role   = aws_iam_role.lambda["create_endpoint"].id
  policy = data.aws_iam_policy_document.create_endpoint.json
}

# --- what starts it all ---

resource "aws_lambda_permission" "s3" {
  statement_id   = "S3"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this["start_training"].function_name
  principal      = "s3.amazonaws.com"
  source_arn     = var.dataset_bucket.arn
  source_account = data.aws_caller_identity.current.account_id
}

resource "aws_s3_bucket_notification" "dataset" {
  bucket = var.dataset_bucket.name

  lambda_function {
    # Without a filter: who puts a file where nothing is done with it is told so.
    id                  = "dataset"
    lambda_function_arn = aws_lambda_function.this["start_training"].arn
    events              = ["s3:ObjectCreated:*"]
  }

  # S3 tries the permission when the notification is set.
  depends_on = [aws_lambda_permission.s3]
}

# --- what no state machine can tell of itself ---

resource "aws_cloudwatch_event_rule" "ended_from_outside" {
  name        = "${var.name}-ended-from-outside"
  description = "A retraining ran out of time or was stopped: its run is closed, and people are told"

  event_pattern = jsonencode({
    source      = ["aws.states"]
    detail-type = ["Step Functions Execution Status Change"]
    detail = {
      status          = ["TIMED_OUT", "ABORTED"]
      stateMachineArn = [local.state_machine_arn]
    }
  })
}

resource "aws_cloudwatch_event_target" "ended_from_outside" {
  rule = aws_cloudwatch_event_rule.ended_from_outside.name
  arn  = aws_lambda_function.this["check_model_status"].arn

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }
}

resource "aws_lambda_permission" "events" {
  statement_id  = "EventBridge"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["check_model_status"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.ended_from_outside.arn
}

data "aws_iam_policy_document" "dead_letters" {
  statement {
    sid       = "EventsThatCannotBeDelivered"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.ended_from_outside.arn]
    }
  }
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.url
  policy    = data.aws_iam_policy_document.dead_letters.json
}
