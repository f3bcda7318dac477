# The topic that tells people how a retraining ended. Encrypted with a key of yours alone: with one of
# AWS's own CloudWatch could not publish its alarms to it.

resource "aws_sns_topic" "notices" {
  name              = "${var.name}-notices"
  kms_master_key_id = local.kms_key_arn
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.settings.notification_emails

  topic_arn = aws_sns_topic.notices.arn
  protocol  = "email"
  endpoint  = each.value
}

data "aws_iam_policy_document" "notices" {
  # The functions and the state machine publish by their roles, alarms and the budget as services.
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.notices.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sns_topic_policy" "notices" {
  arn    = aws_sns_topic.notices.arn
  policy = data.aws_iam_policy_document.notices.json
}
