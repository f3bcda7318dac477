"""The channel's contract, ``openapi.yml``: it is served, and requests are checked against it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, RefResolver

from bot.channels.problems import invalid, invalid_all

PATH = Path(__file__).with_name("openapi.yml")


@functools.cache
def document() -> dict[str, Any]:
    """Return the contract."""
    loaded: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return loaded


@functools.cache
def as_json() -> bytes:
    """Return the contract as it is served."""
    return json.dumps(document(), ensure_ascii=False).encode()


@functools.cache
def validator(schema: str) -> Draft202012Validator:
    """Return what checks a value against ``components/schemas/SCHEMA``."""
    resolver = RefResolver.from_schema(document())
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}"},
        resolver=resolver,
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


@functools.cache
def card_types() -> frozenset[str]:
    """Return the types of the cards that the contract knows."""
    return frozenset(document()["components"]["schemas"]["Card"]["discriminator"]["mapping"])


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the object in ``body``.

    Raises:
        bot.channels.problems.ProblemError: it is no JSON object, or not of valid Unicode.
    """
    try:
        parsed = json.loads(body.decode("utf-8"))
        # A lone surrogate passes as \ud800 and can then be stored nowhere.
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise invalid("", "not valid JSON in UTF-8") from None
    if not isinstance(parsed, dict):
        raise invalid("", "not an object")
    return parsed


def check(schema: str, value: Mapping[str, Any]) -> None:
    """Raise a :class:`~bot.channels.problems.ProblemError` that lists what is wrong with ``value``.

    The values themselves, which may be personal data, are not repeated.
    """
    errors = []
    for error in validator(schema).iter_errors(value):
        pointer = "".join(f"/{part}" for part in error.absolute_path)
        expected = json.dumps(error.validator_value, ensure_ascii=False)
        errors.append((pointer, f"{error.validator}: {expected}"))
    if errors:
        raise invalid_all(sorted(errors))


def user_message(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``value`` as a ``UserMessage``, its text without blanks around it.

    Raises:
        bot.channels.problems.ProblemError: it is none.
    """
    mapping = document()["components"]["schemas"]["UserMessage"]["discriminator"]["mapping"]
    reference = mapping.get(value.get("type")) if isinstance(value.get("type"), str) else None
    if reference is None:
        raise invalid("/type", f"enum: {json.dumps(sorted(mapping))}")
    check(reference.rpartition("/")[2], value)
    key = "text" if value["type"] == "text" else "payload"
    return {**value, key: value[key].strip()}
