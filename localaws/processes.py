"""Child processes that cannot outlive the server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_REAPER = Path(__file__).with_name("reaper.py")


class Children:
    """Starts and stops child processes, each with a process group of its own.

    A helper process (:mod:`localaws.reaper`) kills them when the server dies without having
    stopped them, by ``SIGKILL`` for instance.

    Attributes:
        directory: A temporary directory for their files; it goes with the server, too.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="localaws-"))
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[Any]] = set()
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_REAPER), str(self.directory)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start ``command``; ``options`` are those of :class:`subprocess.Popen`.

        Raises:
            OSError: The command cannot be run.
        """
        process = subprocess.Popen(command, start_new_session=True, **options)
        with self._lock:
            self._running.add(process)
            self._tell(f"+{process.pid}")
        return process

    def stop(self, process: subprocess.Popen[Any], patience: float = 5.0) -> int:
        """End a process and what it started; one that has ended already is fine.

        Args:
            process: A process that :meth:`start` gave.
            patience: Seconds between SIGTERM and SIGKILL; 0 kills at once.

        Returns:
            Its exit status, negative for a signal.
        """
        if patience and process.poll() is None:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        _signal(process, signal.SIGKILL)  # also what outlives the first of its group
        status = process.wait()
        with self._lock:
            if process in self._running:
                self._running.remove(process)
                self._tell(f"-{process.pid}")
        return status

    def stop_all(self) -> None:
        """Kill every process that runs."""
        with self._lock:
            running = list(self._running)
        for process in running:
            self.stop(process, patience=0)

    def close(self) -> None:
        """Kill every process, the helper included, and remove the directory."""
        self.stop_all()
        assert self._reaper.stdin is not None
        self._reaper.stdin.close()
        self._reaper.wait()

    def _tell(self, line: str) -> None:
        assert self._reaper.stdin is not None
        with contextlib.suppress(OSError):  # the server is closing
            print(line, file=self._reaper.stdin, flush=True)


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
