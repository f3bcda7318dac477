"""How much one user may ask for: a token bucket each, the size of a body, the time of a request."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from sanic.http import Stage
from sanic.request import Request
from sanic.server.protocols.http_protocol import HttpProtocol

from bot.channels.problems import ProblemError

BODY_SECONDS = 10.0


class RateLimiter:
    """Lets each key pass ``per_minute`` times a minute on average, ``burst`` times at once.

    Kept in this process: with several of them, a user has a bucket in each.

    Args:
        max_keys: how many buckets are kept. Beyond that the one used longest ago goes, whose owner
            then starts with a full one.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        per_minute: float,
        burst: int,
        max_keys: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate, self.burst, self.max_keys = per_minute / 60, burst, max_keys
        self._clock = clock
        # key → (what is left in the bucket, when that was so)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """Let ``key`` pass.

        Raises:
            ProblemError: ``rate-limited``, with the seconds to wait.
        """
        now = self._clock()
        left, since = self._buckets.pop(key, (float(self.burst), now))
        left = min(self.burst, left + (now - since) * self.rate)
        passes = left >= 1
        self._buckets[key] = (left - 1 if passes else left, now)
        if len(self._buckets) > self.max_keys:
            self._buckets.popitem(last=False)
        if not passes:
            seconds = max(1, math.ceil((1 - left) / self.rate))
            raise ProblemError(
                "rate-limited", "Too many requests of this user.", retry_after=seconds
            )


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of a request whose route streams it, at most ``limit`` bytes.

    Raises:
        ProblemError: it is larger, of unknown form, or does not come in time.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError("unsupported-media-type", "The body must not be compressed.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError("unsupported-media-type", "The body must be application/json.")
    return await _receive(request, limit)


async def discard_body(request: Request, limit: int) -> None:
    """Read what is left of a body that nobody wanted, for the connection to go on.

    Raises:
        ProblemError: as for :func:`read_body`.
    """
    if request.stream is not None and request.stream.request_body:
        await _receive(request, limit)


async def _receive(request: Request, limit: int) -> bytes:
    stream, body = request.stream, bytearray()
    assert stream is not None
    too_large = ProblemError("payload-too-large", f"The body has more than {limit} bytes.")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise too_large

    async def receive() -> None:
        async for chunk in stream:
            body.extend(chunk)
            if len(body) > limit:
                raise too_large

    try:
        await asyncio.wait_for(receive(), BODY_SECONDS)
    except asyncio.TimeoutError:
        raise ProblemError(
            "request-timeout", f"The body did not come within {BODY_SECONDS:.0f} s."
        ) from None
    return bytes(body)


def bound_requests() -> None:
    """Have Sanic count the time that a request takes to arrive from its first byte.

    It counts from the last one: whoever sends a byte a minute keeps a connection for ever. Its
    ``REQUEST_TIMEOUT`` (60 s) now holds for all of the headers, and ``KEEP_ALIVE_TIMEOUT`` (of
    Rasa's server 120 s) for what is left of a body once the answer has been sent.
    """
    thorough = HttpProtocol.data_received
    if getattr(thorough, "bounded", False):
        return

    def data_received(protocol: HttpProtocol, data: bytes) -> None:
        # There is nothing of HTTP yet where the bytes come with the connection.
        since, http = protocol._time, getattr(protocol, "_http", None)
        thorough(protocol, data)
        if http is not None and (http.stage is not Stage.IDLE or http.request_body):
            protocol._time = since

    data_received.bounded = True  # type: ignore[attr-defined]
    HttpProtocol.data_received = data_received  # type: ignore[assignment, method-assign]
