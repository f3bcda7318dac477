"""Small JSON files in a trained model: a dataclass and the version of its format."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

Record = TypeVar("Record")

_VERSION = "format_version"


class DamagedRecordError(Exception):
    """The file is missing, damaged or of another version; the message names it and the way out."""


def write(path: Path, record: Any, version: int) -> None:
    """Write a dataclass, of JSON types only, to ``path``."""
    content = {_VERSION: version, **dataclasses.asdict(record)}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2), "utf-8")


def read(path: Path, kind: type[Record], version: int) -> Record:
    """Read a dataclass ``kind`` from ``path``.

    Raises:
        DamagedRecordError: The file is not what :func:`write` wrote for this ``version``.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        found = content.pop(_VERSION)
        if found == version:
            return kind(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedRecordError(
            f"{path} is missing or damaged ({error!r}). Train again with `rasa train`."
        ) from error
    raise DamagedRecordError(
        f"{path} has format version {found}; this component reads {version}. Train again with "
        "`rasa train`."
    )
