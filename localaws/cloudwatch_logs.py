"""What functions and containers write, kept in moto's CloudWatch Logs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from moto.logs.models import logs_backends

from localaws.protocol import ACCOUNT

log = logging.getLogger(__name__)
_LOCK = threading.Lock()  # moto's logs are not safe in threads


def write(region: str, group: str, stream: str, lines: Iterable[str]) -> None:
    """Append lines to a log stream; group and stream are made where they do not exist."""
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": line} for line in lines]
    backend = logs_backends[ACCOUNT][region]
    with _LOCK:
        backend.ensure_log_group(group)
        backend.ensure_log_stream(group, stream)
        backend.put_log_events(group, stream, events)


def line_sink(region: str, group: str, stream: str) -> Callable[[str], None]:
    """Return a function that appends a line to a log stream and to the server's log.

    It never raises: whoever writes the lines would stop when nobody read on.
    """

    def sink(line: str) -> None:
        log.info("%s/%s: %s", group, stream, line)
        try:
            write(region, group, stream, [line])
        except Exception as error:  # moto's
            log.warning("%s/%s took nothing: %s", group, stream, error)

    return sink
