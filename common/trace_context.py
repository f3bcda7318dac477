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
    """A trace and a span in it: 32 and 16 hexadecimal digits."""

    trace_id: str
    span_id: str
    flags: str = "00"

    @property
    def traceparent(self) -> str:
        """The header that carries the trace on, with the span as the parent."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def parse(traceparent: str | None) -> Trace | None:
    """Return the caller's trace and span; None where the header is missing or malformed."""
    found = _TRACEPARENT.fullmatch((traceparent or "").strip())
    if not found:
        return None
    version, trace_id, span_id = found["version"], found["trace"], found["span"]
    known = version != "ff" and (version != "00" or found["rest"] is None)
    if not (known and int(trace_id, 16) and int(span_id, 16)):
        return None
    return Trace(trace_id, span_id, found["flags"])


def child_of(parent: Trace | None) -> Trace:
    """Return a new span in the trace of ``parent``, or in a new trace."""
    span_id = secrets.token_hex(8)
    if parent is None:
        return Trace(secrets.token_hex(16), span_id)
    return Trace(parent.trace_id, span_id, parent.flags)


def trace_of(traceparent: str | None) -> Trace:
    """Return the caller's trace with a span of ours; a new trace where the header is malformed."""
    return child_of(parse(traceparent))
