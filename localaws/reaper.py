"""Tidies up after the server, however it died; a program of its own.

Started as ``python -I -S reaper.py DIRECTORY``. Reads lines ``+PID`` and ``-PID`` of process groups
that started and ended. The end of the input means that the server is gone: then every group still
known is killed and the directory is removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Keep the list until the input ends, then tidy up."""
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
