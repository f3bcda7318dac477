"""Rasa's configuration files (``credentials.yml``, ``endpoints.yml``), read without Rasa."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from common.errors import UserError


def read_yaml(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of a configuration file of Rasa, its ``${VARIABLES}`` expanded.

    Raises:
        UserError: the file cannot be read, or a variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise UserError(f"{path}: the environment variable {found[1]} is not set.")
        return environ[found[1]]

    def expand(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: expand(item) for key, item in node.items()}
        if isinstance(node, list):
            return [expand(item) for item in node]
        return re.sub(r"\$\{(\w+)\}", value, node) if isinstance(node, str) else node

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds no settings.")
    expanded: dict[str, Any] = expand(loaded)
    return expanded
