"""A command in a terminal of its own, as a person sees and uses it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

ROWS, COLUMNS = 50, 120
CTRL_C, ENTER = "\x03", "\r"
# Colours, movements of the cursor, titles.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07|\x1b[=>]")
# What prompt_toolkit asks of a terminal, and an answer: the cursor is in the first line.
_WHERE_IS_THE_CURSOR, _HERE = b"\x1b[6n", b"\x1b[1;1R"


class Tty:
    """Starts ``command`` at once; leaving the context ends it with all that it started.

    Attributes:
        process: The command.
        output: What it has written so far, without control sequences.
    """

    def __init__(self, command: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environ, stdin=theirs, stdout=theirs, stderr=theirs,
            preexec_fn=_own_terminal,
        )  # fmt: skip
        os.close(theirs)
        self._raw = b""
        self.output = ""

    def __enter__(self) -> Tty:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        os.close(self._ours)

    def send(self, text: str) -> None:
        """Type ``text``."""
        os.write(self._ours, text.encode())

    def expect(self, pattern: str, seconds: float = 240) -> str:
        """Wait until the output since the last call matches; return the output up to there."""
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.output[self._seen :])) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.output[self._seen :]}"
            ended = self.process.poll() is not None
            assert self._read() or not ended, f"ended without {pattern!r}:\n{self.output}"
        until = self._seen + found.end()
        shown = self.output[self._seen : until]
        self._seen = until
        return shown

    def wait(self, seconds: float = 60) -> int:
        """Return the exit status of a command that is to end by itself."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running:\n{self.output}"
            self._read()
        while self._read():
            pass
        return self.process.returncode

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take in what it writes while the body runs: it waits where nobody does."""
        left = threading.Event()

        def watch() -> None:
            while not left.is_set():
                self._read()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            left.set()
            thread.join()

    _seen = 0

    def _read(self) -> bool:
        """Take in what there is; return whether there was anything."""
        if not select.select([self._ours], [], [], 0.2)[0]:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other side is closed
            return False
        if _WHERE_IS_THE_CURSOR in data:
            os.write(self._ours, _HERE)
        self._raw += data
        self.output = _CONTROL.sub("", self._raw.decode(errors="replace"))
        return bool(data)


def _own_terminal() -> None:
    """Make the standard input the terminal that controls the new session."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
