"""What is on a disk: whether there is room, and what a file holds."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

# As much as a turn may need.
SPACE_BYTES = 64 * 1024


def require_space(folder: Path) -> None:
    """Raise :class:`OSError` where nothing can be written to ``folder``."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        if file.write(bytes(SPACE_BYTES)) != SPACE_BYTES:
            raise OSError("the disk is full")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file of any size, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
