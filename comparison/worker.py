"""A child process that trains and scores, so that a crash ends one measurement and not the run."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bot.runtime.rasa_cli import PROJECT_ROOT

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


def environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment of a child: ours, changed (None unsets), with our modules at hand."""
    path = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH")]))
    changed = {**os.environ, "PYTHONPATH": path, **changes}
    return {name: value for name, value in changed.items() if value is not None}


class Worker:
    """A process of its own, kept from call to call so that libraries are imported once.

    Args:
        log: File that its output is appended to.
        environ: Environment variables for it; None unsets one.
    """

    def __init__(self, log: Path, environ: Mapping[str, str | None]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                env=environment(environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
            )

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a module's function returns there.

        Raises:
            WorkerError: It raised, or the process ended; the process is of no use then.
        """
        self.begin(function, *arguments)
        return self.result()

    def begin(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a call, whose :meth:`result` must be taken before the next."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # the result will tell
            pickle.dump((function, arguments), self._process.stdin)
            self._process.stdin.flush()

    def fileno(self) -> int:
        """Return what ``select`` waits for: readable as soon as there is a result."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def result(self) -> Any:
        """Wait for what the call that was begun returns.

        Raises:
            WorkerError: As of :meth:`call`.
        """
        assert self._process.stdout is not None
        try:
            succeeded, value = pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            code = self._process.wait()
            reason = f"signal {-code}" if code < 0 else f"exit status {code}"
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise WorkerError(f"The process ended by itself ({reason}).", tail) from None
        if not succeeded:
            raise WorkerError(*value)
        return value

    @property
    def is_alive(self) -> bool:
        """Whether it can be called."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process, whatever it does; what it has in temporary folders is removed."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_END)
        self._process.kill()
        self._process.communicate()


def _serve() -> None:
    """Answer calls until the other end closes."""
    # What libraries print goes to the log; the pipe is for answers alone.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Not the system's way, which leaves temporary files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            result = True, function(*arguments)
        except Exception as error:
            message = "".join(traceback.format_exception_only(type(error), error)).strip()
            result = False, (message, traceback.format_exc())
        pickle.dump(result, answers)
        answers.flush()


if __name__ == "__main__":
    _serve()
