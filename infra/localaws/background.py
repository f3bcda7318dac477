"""Work that goes on after a request was answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from infra.localaws.settings import Settings

log = logging.getLogger(__name__)


class Background:
    """Threads for what takes time; they end with the server.

    Attributes:
        stopping: Set when the server stops.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.stopping = threading.Event()

    def run(self, work: Callable[..., None], *arguments: Any) -> None:
        """Call ``work`` in a thread."""
        threading.Thread(target=self._logged, args=(work, *arguments), daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Wait ``seconds`` of the real AWS, scaled; shorter when the server stops."""
        self.stopping.wait(self._settings.scaled(seconds))

    def after(self, seconds: float, work: Callable[..., None], *arguments: Any) -> None:
        """Call ``work`` in a thread after ``seconds`` of the real AWS, scaled."""

        def wait_and_work() -> None:
            self.wait(seconds)
            if not self.stopping.is_set():
                work(*arguments)

        self.run(wait_and_work)

    def _logged(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception:  # a thread has nobody to raise to
            if not self.stopping.is_set():
                log.exception("Background work failed")
