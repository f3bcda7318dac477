"""A server of the cluster alone, which a test may kill and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from infra.cluster import engines


class EngineServer:
    """A server that runs as whoever runs the test.

    Args:
        engine: How it is started.
        log: File that its output is appended to.
    """

    def __init__(self, engine: engines.Engine, log: Path) -> None:
        self.engine = engine
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens, as ``127.0.0.1:PORT``."""
        return f"{engines.HOST}:{self.engine.port}"

    def start(self) -> None:
        """Start it unless it runs; return when it takes connections."""
        if self._process is not None:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.engine.command,
                env={**os.environ, **self.engine.environ},
                stdout=log,
                stderr=log,
                start_new_session=True,  # RabbitMQ is a script with children
            )
        while not engines.listens(self.engine.port):
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """End it and its children at once, if it runs."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
