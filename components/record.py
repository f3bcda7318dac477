"""Small JSON files in a trained model: a dataclass and the version of its format."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

Record = TypeVar("Record")

_VERSION = "format_version"


def write(path: Path, record: Any, version: int) -> None:
    """Write a dataclass, of JSON types only, to ``path``."""
    content = {_VERSION: version, **dataclasses.asdict(record)}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2), "utf-8")


def read(path: Path, kind: type[Record], version: int) -> Record:
    """Read a dataclass ``kind`` from ``path``.

    Raises:
        OSError: There is no such file.
        ValueError: It is damaged or of another version.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        found = content.pop(_VERSION)
        if found == version:
            return kind(**content)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} is damaged ({error!r})") from error
    raise ValueError(f"{path.name} has format version {found}, {version} is expected")
