"""The configuration of the Comprehend intent classifier: every key, its default and its rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from common.aws import split_s3_uri
from common.config import (
    ConfigError,
    Rule,
    check_config,
    integer,
    number,
    one_of,
    optional,
    text,
)
from common.errors import UserError
from components import remote_aws
from components.comprehend.documents import (
    CLASSIFIER_NAME_LENGTH,
    ENDPOINT_NAME_LENGTH,
    MINIMUM_DOCUMENTS,
    RECOMMENDED_DOCUMENTS,
    check_name,
)

COMPONENT = "ComprehendIntentClassifier"
DEFAULT_NAME = "skills-bot"
# Of a custom classification endpoint, as ClassifyDocument's API reference has it.
_ENDPOINT_ARN = re.compile(
    r"arn:aws(-[^:]+)?:comprehend:(?P<region>[a-zA-Z0-9-]+):[0-9]{12}"
    r":document-classifier-endpoint/[a-zA-Z0-9](-*[a-zA-Z0-9])*"
)

DEFAULTS: dict[str, Any] = {
    # Name or ARN of the endpoint that answers.
    "endpoint": DEFAULT_NAME,
    # Null: the endpoint exists already. Else how to train and start it, see TRAIN_DEFAULTS.
    "train": None,
    **remote_aws.DEFAULTS,
}

TRAIN_DEFAULTS: dict[str, Any] = {
    # Folder in S3 for the examples and the result, and the role by which Comprehend uses it.
    "s3_uri": None,
    "role_arn": None,
    "classifier": DEFAULT_NAME,
    "language": "fr",
    # Inference units of the endpoint; each takes 100 characters and 2 texts a second.
    "units": 1,
    # Key that encrypts the files and the model; null takes AWS's own.
    "kms_key": None,
    "minimum_documents": MINIMUM_DOCUMENTS,
    "recommended_documents": RECOMMENDED_DOCUMENTS,
    # Seconds between two looks at the progress, and in all for each of training and start.
    "poll_seconds": 30,
    "time_limit": 7200,
}


def _name(length: int) -> Rule:
    """A name that Comprehend takes."""
    return Rule(
        f"a name of up to {length} letters (without accents), digits and hyphens",
        lambda value: isinstance(value, str) and _passes(check_name, value, length, "it"),
    )


def _passes(check: Any, *arguments: Any) -> bool:
    try:
        check(*arguments)
    except UserError:
        return False
    return True


RULES: dict[str, Rule] = {
    "endpoint": Rule(
        f"the ARN of an endpoint, or its name of up to {ENDPOINT_NAME_LENGTH} letters (without "
        "accents), digits and hyphens",
        lambda value: (
            _name(ENDPOINT_NAME_LENGTH).holds(value)
            or (isinstance(value, str) and bool(_ENDPOINT_ARN.fullmatch(value)))
        ),
    ),
    "train": Rule("null or a mapping", lambda value: value is None or isinstance(value, dict)),
    **remote_aws.RULES,
}

TRAIN_RULES: dict[str, Rule] = {
    "s3_uri": Rule(
        "an address in S3: s3://BUCKET/FOLDER",
        lambda value: isinstance(value, str) and _passes(split_s3_uri, value),
    ),
    "role_arn": Rule(
        "the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME",
        lambda value: (
            isinstance(value, str)
            and bool(re.fullmatch(r"arn:aws(-[^:]+)?:iam::[0-9]{12}:role/.+", value))
        ),
    ),
    "classifier": _name(CLASSIFIER_NAME_LENGTH),
    # The languages of plain-text classifiers: Developer Guide, "Languages supported".
    "language": one_of("fr", "de", "en", "es", "it", "pt"),
    "units": integer(1, 10),
    "kms_key": optional(text()),
    "minimum_documents": integer(MINIMUM_DOCUMENTS),
    "recommended_documents": integer(0),
    "poll_seconds": number(0, 3600, above=True),
    "time_limit": number(0, 86_400, above=True),
}


def check(config: Mapping[str, Any]) -> None:
    """Check ``train`` of a complete configuration.

    Raises:
        ConfigError: A key of it is unknown or a value out of its range, or the endpoint is given
            by an ARN.
    """
    if config["train"] is not None:
        check_config(f"'train' of {COMPONENT}", training_settings(config), TRAIN_RULES)
        if config["endpoint"].startswith("arn:"):
            raise ConfigError(
                f"{COMPONENT} in config.yml: 'train' starts the endpoint of the name 'endpoint'; "
                "give its name alone, not an ARN."
            )


def training_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``train`` with its defaults; an empty mapping where nothing is to be trained."""
    return {**TRAIN_DEFAULTS, **config["train"]} if config["train"] is not None else {}


def region_of(config: Mapping[str, Any]) -> str | None:
    """Return the region to ask: the endpoint's own where its ARN is given, else ``region``."""
    arn = _ENDPOINT_ARN.fullmatch(config["endpoint"])
    return arn["region"] if arn else config["region"]
