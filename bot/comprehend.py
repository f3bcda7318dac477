"""From a configuration that asks Amazon Comprehend to an endpoint that answers it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from rich.console import Console
from rich.prompt import Confirm

from bot import dataset
from common import environment, prices
from common.aws import AwsError, aws_errors, client
from common.errors import UserError
from components.comprehend.config import COMPONENT, DEFAULTS, TRAIN_DEFAULTS, training_settings
from components.comprehend.endpoint import train
from components.comprehend.resources import ensure_bucket, ensure_role
from components.comprehend.service import READY, Comprehend, Endpoint

EXAMPLES = Path("data") / "nlu.yml"
ROLE = "skills-bot-comprehend"
SECONDS_A_MONTH = 30 * 86_400
# A new role takes so long until Comprehend may assume it.
ROLE_SECONDS = 15.0
LOCAL_POLL_SECONDS = 0.2


def classifier_of(config: Path) -> dict[str, Any] | None:
    """Return the settings of the Comprehend classifier in a pipeline, None without one."""
    pipeline = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("pipeline") or []
    for component in pipeline:
        if str(component.get("name", "")).rpartition(".")[2] == COMPONENT:
            return {**DEFAULTS, **component}
    return None


def ensure_endpoint(config: Path, console: Console) -> Endpoint | None:
    """Have the endpoint that a configuration asks in service; return it, None if it asks none.

    A missing endpoint is trained and started after its price was told and agreed to. Where the
    configuration says how to train it (``train``), that is left to ``rasa train``.

    Args:
        config: The configuration.
        console: Where account, price and progress are shown.

    Raises:
        UserError: There are no AWS credentials, nobody agreed to the price, or AWS refuses.
    """
    settings = classifier_of(config)
    if settings is None:
        return None
    account, service, endpoint = _look(settings, config, console)
    if endpoint is None or endpoint.state != READY:
        _agree(settings, endpoint, console)
        if settings["train"] is None:
            endpoint = _train(service, account, settings, config, console)
    return endpoint


def train_endpoint(config: Path, console: Console, *, yes: bool = False) -> Endpoint:
    """Train the present examples and have the endpoint answer with that version.

    Args:
        config: A configuration that asks Comprehend, with ``data/nlu.yml`` beside it.
        console: Where account, price and progress are shown.
        yes: Spend the money without asking.

    Raises:
        UserError: As of :func:`ensure_endpoint`; or the configuration asks another classifier.
    """
    settings = classifier_of(config)
    if settings is None:
        raise UserError(f"{config}: there is no {COMPONENT} in its pipeline.")
    account, service, endpoint = _look(settings, config, console)
    _agree(settings, endpoint, console, yes=yes)
    return _train(service, account, settings, config, console)


def _look(
    settings: dict[str, Any], config: Path, console: Console
) -> tuple[str, Comprehend, Endpoint | None]:
    """Return account and endpoint, and say which account it is."""
    try:
        with aws_errors("find out who you are"):
            identity = client("sts", settings["region"]).get_caller_identity()
        service = Comprehend(settings["region"])
        endpoint = service.endpoint(settings["endpoint"])
    except AwsError as error:
        raise UserError(
            f"{config.name} asks Amazon Comprehend, which needs an AWS account. {error}\n"
            "Without an account, `make run-comprehend` tries it on a local stand-in for AWS."
        ) from error
    account = str(identity["Account"])
    console.print(f"      AWS account {account}, {service.region}", highlight=False)
    return account, service, endpoint


def _agree(
    settings: dict[str, Any], endpoint: Endpoint | None, console: Console, *, yes: bool = False
) -> None:
    """Tell what training and endpoint cost, and ask whether to go on; a local AWS is free.

    Raises:
        UserError: The answer is no, or there is nobody to ask.
    """
    if is_local():
        return
    units = (settings["train"] or {}).get("units", TRAIN_DEFAULTS["units"])
    price_list = prices.read()
    monthly = units * SECONDS_A_MONTH * price_list.dollars("comprehend-endpoint")
    state = "there is none" if endpoint is None else f"its state is {endpoint.status}"
    console.print(
        f"      The endpoint '{settings['endpoint']}': {state}. A training takes about 20 minutes "
        f"and costs about ${price_list.dollars('comprehend-training'):.0f}; the endpoint takes "
        f"15 minutes more and costs ${monthly:,.0f} a month, asked or not, until "
        f"`bot comprehend endpoint stop` (list prices of {prices.DEFAULT.name}; check them).",
        highlight=False,
        soft_wrap=True,
    )
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("Nobody is there to agree: `bot comprehend train --yes` does not ask.")
    if not Confirm.ask("      Go on?", console=console, default=False):
        raise UserError("Nothing was created.")


def _train(
    service: Comprehend, account: str, settings: dict[str, Any], config: Path, console: Console
) -> Endpoint:
    """Train and start; files go to the bucket ``skills-bot-comprehend-ACCOUNT-REGION`` unless the
    settings (``train``) name another."""
    if settings["train"] is not None:
        training = training_settings(settings)
    else:
        bucket = f"{ROLE}-{account}-{service.region}"
        ensure_bucket(bucket, service.region)
        role = ensure_role(ROLE, bucket, 0 if is_local() else ROLE_SECONDS)
        training = {**TRAIN_DEFAULTS, "s3_uri": f"s3://{bucket}", "role_arn": role}
    if is_local():
        training["poll_seconds"] = LOCAL_POLL_SECONDS
    pairs = [
        (example.intent, example.text)
        for example in dataset.read(config.parent / EXAMPLES).examples
    ]
    with console.status("") as status:
        trained = train(service, settings["endpoint"], pairs, training, status.update)
    console.print(
        f"      '{settings['endpoint']}' is in service; accuracy {trained.metrics['accuracy']:.3f} "
        f"on {trained.metrics['test_examples']} examples held out",
        highlight=False,
        soft_wrap=True,
    )
    endpoint = service.endpoint(trained.endpoint_arn)
    assert endpoint is not None
    return endpoint


def is_local() -> bool:
    """Return whether AWS is a stand-in on this machine, which costs nothing."""
    return environment.is_loopback(urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname or "")
