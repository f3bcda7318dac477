"""How much one user may ask for: a token bucket each, and the size of a body."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from sanic.request import Request

from bot.channels.problems import ProblemError


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
        ProblemError: it is larger, or of unknown form.
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

    async for chunk in stream:
        body.extend(chunk)
        if len(body) > limit:
            raise too_large
    return bytes(body)
