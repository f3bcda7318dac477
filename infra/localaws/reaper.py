"""Kills what a dead server leaves behind; run as a program, without any import of the project.

Reads lines ``+PID`` and ``-PID`` of process groups that started and ended. The end of the input
means that the server is gone, however it died: then every group still known is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Keep the list until the input ends, then kill."""
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
