"""Work that goes on after a request was answered."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from localaws.settings import Settings

log = logging.getLogger(__name__)

TICK = 0.05  # local seconds between two looks at what may have changed


class Background:
    """Threads for what takes time; they end with the server.

    Attributes:
        stopping: Set when the server stops.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.stopping = threading.Event()

    def run(
        self,
        work: Callable[..., None],
        *arguments: Any,
        failed: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Call ``work`` in a thread.

        Args:
            work: What to do.
            arguments: Its arguments.
            failed: Called with the reason when ``work`` raises what nobody expected, so that what
                waits for it does not wait for ever.
        """
        threading.Thread(target=self._guarded, args=(work, arguments, failed), daemon=True).start()

    def wait(
        self,
        seconds: float,
        *,
        since: float | None = None,
        going_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """Wait as long as something lasts; shorter when the server stops.

        The time scale may change meanwhile.

        Args:
            seconds: How long it lasts in the real AWS.
            since: When it began, by :func:`time.monotonic`; None: now.
            going_on: Says whether there still is something to wait for.
        """
        begin = time.monotonic() if since is None else since
        while going_on() and not self.stopping.is_set():
            rest = begin + self._settings.scaled(seconds) - time.monotonic()
            if rest <= 0:
                return
            self.stopping.wait(min(rest, TICK))

    def after(
        self,
        seconds: float,
        work: Callable[..., None],
        *arguments: Any,
        failed: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Do as :meth:`run` after ``seconds`` of the real AWS, see :meth:`wait`."""

        def wait_and_work() -> None:
            self.wait(seconds)
            if not self.stopping.is_set():
                work(*arguments)

        self.run(wait_and_work, failed=failed)

    def _guarded(
        self, work: Callable[..., None], arguments: tuple[Any, ...], failed: Callable[[str], None]
    ) -> None:
        try:
            work(*arguments)
        except Exception as error:  # a thread has nobody to raise to
            if not self.stopping.is_set():
                log.exception("Background work failed")
                failed(f"The local AWS failed, see its log: {type(error).__name__}: {error}")
