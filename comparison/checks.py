"""Checks of what a user wrote into a YAML file, with every fault named at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from common.config import Rule, unknown_name
from common.errors import UserError


def faults(
    where: str, values: Any, rules: Mapping[str, Rule], required: Collection[str] = ()
) -> list[str]:
    """Return what is wrong with ``values``, a mapping of keys to values, in words.

    Args:
        where: What the mapping is, for the messages: ``"prices[3]"``.
        values: What was read; anything but a mapping is a fault.
        rules: A rule for each key that is known.
        required: The keys that must be there.
    """
    if not isinstance(values, Mapping):
        return [f"{where} must be a mapping of keys to values."]
    found = [f"{where}: '{key}' is missing." for key in required if key not in values]
    for key, value in values.items():
        if key not in rules:
            found.append(f"{where}: '{key}' is not known. {unknown_name(str(key), rules)}")
        elif not rules[key].holds(value):
            found.append(f"{where}: '{key}' is {value!r}; it must be {rules[key].expected}.")
    return found


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
