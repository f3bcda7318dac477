"""Whether there is room on a disk."""

from __future__ import annotations

import tempfile
from pathlib import Path

# As much as a turn may need.
SPACE_BYTES = 64 * 1024


def require_space(folder: Path) -> None:
    """Raise :class:`OSError` where nothing can be written to ``folder``."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        if file.write(bytes(SPACE_BYTES)) != SPACE_BYTES:
            raise OSError("the disk is full")
