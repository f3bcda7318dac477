"""The words of the notices."""

from __future__ import annotations

import email.message
import json
import logging
import os
import smtplib
import ssl
import urllib.parse
import urllib.request

from bot.retraining.registry import Run
from bot.retraining.settings import Settings
from bot.retraining.storage import address
from common.aws import aws_errors, client

log = logging.getLogger(__name__)
_REASONS_SHOWN = 20
# At most 25 characters: beside the longest name they make a subject of 100.
_HEADLINES = {
    "DEPLOYED": "new model is live",
    "REJECTED_DATASET": "dataset rejected",
    "NOTHING_NEW": "nothing new",
    "AWAITING_APPROVAL": "waits for approval",
    "STARTING": "waits for a quota",
    "TRAINING_FAILED": "training failed",
    "REJECTED": "new model not good enough",
    "SUPERSEDED": "superseded by a newer one",
    "DEPLOYMENT_FAILED": "deployment failed",
    "FAILED": "retraining failed",
}


def subject(settings: Settings, run: Run, headline: str = "") -> str:
    """Return the subject of a run's notice: ASCII, at most 100 characters, as SNS demands."""
    headline = headline or _HEADLINES[run.status.value]
    return f"[{settings.name} {settings.backend}] {headline} ({run.run_id})"


def quota_advice(settings: Settings) -> str:
    """Say how to ask AWS for more."""
    service = settings.backend
    return (
        "AWS's console, Service Quotas, has a form for it; or: aws service-quotas "
        f"list-service-quotas --service-code {service}, then aws service-quotas "
        f"request-service-quota-increase --service-code {service} --quota-code CODE "
        "--desired-value NUMBER."
    )


def ignored(settings: Settings, uri: str) -> tuple[str, str]:
    """Return subject and text of the notice of a file that is no dataset by its name."""
    return (
        f"[{settings.name} {settings.backend}] file ignored",
        f"Nothing is done with {uri}.\n\nDatasets are the files below "
        f"'{settings.dataset_prefix}' that end in '.json'; '{settings.heldout_key}' is what they "
        "are measured on.",
    )


def publish(settings: Settings, subject: str, message: str) -> None:
    """Send a notice.

    Raises:
        AwsError: AWS refuses or does not answer.
    """
    if settings.backend == "local":
        _send(subject, message)
        return
    with aws_errors("publish the notice"):
        client("sns").publish(TopicArn=settings.topic_arn, Subject=subject, Message=message)


def _send(subject: str, message: str) -> None:
    """Send a notice without AWS: to the log, and where NOTICE_WEBHOOK and NOTICE_MAIL say.

    What cannot be delivered is in the log, and stops no retraining.
    """
    log.warning("%s\n%s", subject, message)
    if url := os.environ.get("NOTICE_WEBHOOK"):
        # What Slack, Mattermost and Teams take; `subject` for everything else.
        body = json.dumps({"text": f"{subject}\n\n{message}", "subject": subject}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except (OSError, ValueError) as error:
            log.error("The notice could not be sent to NOTICE_WEBHOOK: %s", error)
    if address := os.environ.get("NOTICE_MAIL"):
        mail = email.message.EmailMessage()
        mail["Subject"], mail["To"] = subject, address
        mail["From"] = os.environ.get("NOTICE_MAIL_FROM", address)
        mail.set_content(message)
        server = urllib.parse.urlsplit(os.environ.get("SMTP_URL", "smtp://127.0.0.1:25"))
        try:
            with smtplib.SMTP(
                server.hostname or "127.0.0.1", server.port or 25, timeout=10
            ) as smtp:
                if server.username:
                    smtp.starttls(context=ssl.create_default_context())
                    smtp.login(server.username, urllib.parse.unquote(server.password or ""))
                smtp.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            log.error("The notice could not be sent by SMTP_URL: %s", error)


def message(settings: Settings, run: Run, bucket: str, advice: str = "") -> str:
    """Return the text of a run's notice.

    Args:
        settings: Of the pipeline.
        run: The run, at its end.
        bucket: Where its record is.
        advice: What to do now.
    """
    headline = _HEADLINES[run.status.value]
    lines = [headline[0].upper() + headline[1:] + "."]
    if run.reason:
        reasons = run.reason.splitlines()
        lines += ["", *reasons[:_REASONS_SHOWN]]
        if len(reasons) > _REASONS_SHOWN:
            lines.append(f"… and {len(reasons) - _REASONS_SHOWN} more.")
    if advice:
        lines += ["", advice]
    version = run.dataset.get("version_id")
    lines += [
        "",
        f"Dataset: {run.uri}" + (f" (version {version})" if version else ""),
    ]
    if run.dataset["sha256"]:
        lines.append(f"SHA-256: {run.dataset['sha256']}")
    if run.dataset["examples"]:
        counts = ", ".join(f"{name} {n}" for name, n in sorted(run.dataset["intents"].items()))
        lines.append(f"Examples: {run.dataset['examples']} ({counts})")
    if run.metrics:
        lines.append(
            f"Held-out set: accuracy {run.metrics['accuracy']:.4f}, macro-F1 "
            f"{run.metrics['macro_f1']:.4f} on {run.metrics['test_examples']} examples"
        )
    if run.gate:
        lines.append(f"Quality gate: {run.gate['reason']}")
    if run.endpoint:
        lines.append(f"Endpoint: {run.endpoint['name']}")
    if run.warnings:
        shown = [f"- {warning}" for warning in run.warnings[:_REASONS_SHOWN]]
        lines += ["", f"Warnings ({len(run.warnings)}):", *shown]
    return "\n".join([*lines, "", f"Log: {address(bucket, f'runs/{run.run_id}/record.json')}"])
