"""Tools whose dependencies clash with Rasa's, each set in an environment of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from common.errors import UserError


def virtual_environment(folder: Path, lock: Path) -> Path:
    """Return the ``bin`` of ``folder``, an environment with exactly what ``lock`` names.

    It is made anew when the lock file has changed; packages are checked by their hashes.

    Raises:
        UserError: it cannot be made, most likely as the package registry is out of reach.
    """
    with FileLock(Path(sys.prefix) / f"{folder.name}.lock"):  # two tests may want it at once
        return _environment(folder, lock)


def _environment(folder: Path, lock: Path) -> Path:
    stamp, wanted = folder / ".lock", hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return folder / "bin"
    uv, python = Path(sys.prefix) / "bin" / "uv", str(folder / "bin" / "python")
    commands = (
        ("venv", "--quiet", "--clear", "--python", sys.executable, str(folder)),
        ("pip", "sync", "--quiet", "--python", python, "--require-hashes", str(lock)),
    )
    for command in commands:
        try:
            done = subprocess.run([uv, *command], capture_output=True, text=True, timeout=300)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(f"{folder.name} cannot be made: {error}") from None
        if done.returncode != 0:
            raise UserError(f"{folder.name} cannot be made: {done.stderr[-500:]}")
    stamp.write_text(wanted)
    return folder / "bin"
