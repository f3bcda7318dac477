"""Which trace a request belongs to: W3C Trace Context, https://www.w3.org/TR/trace-context/."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<rest>-.*)?"
)


@dataclass(frozen=True)
class Trace:
    """A trace and our span in it: 32 and 16 hexadecimal digits."""

    trace_id: str
    span_id: str
    flags: str = "00"

    @property
    def traceparent(self) -> str:
        """The header that carries the trace on, with our span as the parent."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def trace_of(traceparent: str | None) -> Trace:
    """Return the caller's trace with a span of ours; a new trace where the header is malformed."""
    span_id = secrets.token_hex(8)
    found = _TRACEPARENT.fullmatch((traceparent or "").strip())
    if found:
        version, trace_id, rest = found["version"], found["trace"], found["rest"]
        known = version != "ff" and (version != "00" or rest is None)
        if known and int(trace_id, 16) and int(found["span"], 16):
            return Trace(trace_id, span_id, found["flags"])
    return Trace(secrets.token_hex(16), span_id)
