"""Validation of configuration files: every fault is named, with what to write instead."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError

# Rasa adds these to every component's configuration; they are not ours to refuse.
_RASA_KEYS = frozenset({"name", "finetuning_epoch_fraction"})


class ConfigError(UserError):
    """A configuration cannot be used; the message says what to write instead."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a configuration value must be.

    Attributes:
        expected: The rule in words, for the message: ``"a whole number of at least 1"``.
        holds: Whether a value satisfies the rule.
    """

    expected: str
    holds: Callable[[Any], bool]


def integer(low: int, high: int | None = None) -> Rule:
    """A whole number from ``low`` to ``high``, both included."""
    upper = "" if high is None else f" and at most {high}"
    return Rule(
        f"a whole number of at least {low}{upper}",
        lambda value: (
            isinstance(value, int)
            and not isinstance(value, bool)
            and value >= low
            and (high is None or value <= high)
        ),
    )


def number(low: float, high: float, *, above: bool = False, below: bool = False) -> Rule:
    """A number from ``low`` to ``high``; ``above`` and ``below`` exclude the ends."""
    words = f"{'above' if above else 'at least'} {low} and {'below' if below else 'at most'} {high}"
    return Rule(
        f"a number {words}",
        lambda value: (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and (value > low if above else value >= low)
            and (value < high if below else value <= high)
        ),
    )


def one_of(*choices: Any) -> Rule:
    """One of ``choices``."""
    listed = ", ".join(repr(choice) for choice in choices)
    return Rule(f"one of {listed}", lambda value: value in choices)


def boolean() -> Rule:
    """``true`` or ``false``."""
    return Rule("true or false", lambda value: isinstance(value, bool))


def text(*, empty: bool = False) -> Rule:
    """A string, not empty unless ``empty``."""
    return Rule(
        "a text" if empty else "a text that is not empty",
        lambda value: isinstance(value, str) and (empty or bool(value.strip())),
    )


def optional(rule: Rule) -> Rule:
    """``null`` or what ``rule`` asks for."""
    return Rule(f"null or {rule.expected}", lambda value: value is None or rule.holds(value))


def unknown_name(name: str, known: Collection[str]) -> str:
    """Return a hint for a misspelt ``name``: the nearest of ``known``, or all of them."""
    nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    if nearest:
        return f"Did you mean '{nearest[0]}'?"
    return f"Known: {', '.join(sorted(known))}."


def check_config(component: str, config: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Check ``config`` against ``rules``.

    Args:
        component: The component's name, for the message.
        config: The configuration as Rasa hands it over, defaults included.
        rules: A rule for every key that the component knows.

    Raises:
        ConfigError: A key is unknown or a value breaks its rule; the message names
            every fault and, for an unknown key, the nearest valid one.
    """
    faults = []
    for key, value in config.items():
        if key in rules:
            if not rules[key].holds(value):
                faults.append(f"'{key}' is {value!r}; it must be {rules[key].expected}.")
        elif key not in _RASA_KEYS and not key.startswith("__"):
            faults.append(f"'{key}' is not a key of this component. {unknown_name(key, rules)}")
    if faults:
        raise ConfigError(f"{component} in config.yml: {' '.join(faults)}")


def refuse(path: Path | str, found: Collection[str]) -> None:
    """Raise a :class:`~common.errors.UserError` that lists the faults, if there are any."""
    if found:
        raise UserError("\n".join(f"{path}: {fault}" for fault in found))


def read_yaml(path: Path) -> Any:
    """Return what the YAML file holds, in plain types.

    Raises:
        UserError: There is no such file, or it is no YAML; with the line.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {error}") from None
