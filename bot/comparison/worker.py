"""A child process that trains and scores, so that a crash ends one measurement and not the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SECONDS_TO_END = 10.0


class WorkerError(Exception):
    """A call did not return.

    Attributes:
        error: Type and message of what was raised, or how the process ended.
        traceback: Where it was raised, or the end of the process's output.
    """

    def __init__(self, error: str, traceback: str) -> None:
        super().__init__(error)
        self.error = error
        self.traceback = traceback


class Worker:
    """A process of its own, kept from call to call so that libraries are imported once.

    Args:
        log: File that its output is appended to.
        environ: Environment variables for it; None unsets one.
    """

    def __init__(self, log: Path, environ: Mapping[str, str | None]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(end, str(log), dict(environ)), daemon=True
        )
        self._process.start()
        end.close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a module's function returns there.

        Raises:
            WorkerError: It raised, or the process ended; the process is of no use then.
        """
        try:
            self._pipe.send((function, arguments))
            succeeded, value = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            reason = f"signal {-code}" if code < 0 else f"exit status {code}"
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise WorkerError(f"The process ended by itself ({reason}).", tail) from None
        if not succeeded:
            raise WorkerError(*value)
        return value

    @property
    def is_alive(self) -> bool:
        """Whether it can be called."""
        return self._process.is_alive()

    def close(self) -> None:
        """End the process, whatever it does; what it has in temporary folders is removed."""
        self._pipe.close()
        self._process.terminate()
        self._process.join(_SECONDS_TO_END)
        self._process.kill()
        self._process.join()


def _serve(pipe: Any, log: str, environ: Mapping[str, str | None]) -> None:
    """Answer calls until the other end closes."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    apply(environ)
    # Not the system's way, which leaves temporary files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, function(*arguments)))
        except Exception as error:
            message = "".join(traceback.format_exception_only(type(error), error)).strip()
            pipe.send((False, (message, traceback.format_exc())))


def apply(environ: Mapping[str, str | None]) -> None:
    """Set environment variables of this process; None unsets one."""
    for name, value in environ.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
