"""Hyper-parameters: the configuration keys of the component, which SageMaker hands over as text.

Source: Amazon SageMaker API, ``CreateTrainingJob``: ``HyperParameters`` is a map of strings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.config import ConfigError
from common.errors import UserError
from components.camembert.config import COMPONENT, DEFAULTS, RULES, validate

# What Python's `str` makes of values that JSON writes otherwise.
_PYTHON_WORDS = {"True": True, "False": False, "None": None}
# Keys of every classifier of the bot.
_OF_THE_BOT = ("fallback", "ranking_length")


def read(path: Path) -> dict[str, Any]:
    """Read ``hyperparameters.json``; no file means the defaults.

    Raises:
        UserError: It is damaged, or :func:`parse` refuses it.
    """
    if not path.exists():
        return parse({})
    try:
        given = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON: {error}.") from error
    return parse(given)


def parse(given: Mapping[str, str]) -> dict[str, Any]:
    """Return a complete configuration of the component.

    Args:
        given: Name → value as JSON (``"8"``, ``"1e-4"``, ``"true"``, ``"null"``) or as plain text.
            Names that begin with ``sagemaker_`` belong to SageMaker's SDK, and those of
            ``_OF_THE_BOT`` say nothing of a training: both are left out.

    Raises:
        UserError: A name is unknown or a value out of its range; the message names every fault
            and, for a name, the nearest valid one.
    """
    values = {
        name: _value(name, text)
        for name, text in given.items()
        if not name.startswith("sagemaker_") and name not in _OF_THE_BOT
    }
    config = {**DEFAULTS, **values}
    try:
        validate(config)
    except ConfigError as error:
        raise UserError(
            str(error).replace(f"{COMPONENT} in config.yml", "Hyper-parameters")
        ) from error
    return config


def _value(name: str, text: str) -> Any:
    """Return what ``text`` means for ``name``: JSON where that suits its rule, else the text."""
    if text in _PYTHON_WORDS:
        return _PYTHON_WORDS[text]
    try:
        value = json.loads(text)
    except ValueError:
        return text
    # A revision, say, may be made of digits alone.
    if name in RULES and not RULES[name].holds(value) and RULES[name].holds(text):
        return text
    return value
