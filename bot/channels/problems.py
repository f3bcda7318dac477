"""Errors as problem details (RFC 9457); ``openapi.yml`` lists the types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sanic.exceptions import SanicException

CONTENT_TYPE = "application/problem+json"

RETRY_SECONDS = 2

# type → (status, title)
_KINDS = {
    "invalid-request": (400, "Invalid request"),
    "unauthenticated": (401, "Not signed in"),
    "forbidden": (403, "Forbidden"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "not-acceptable": (406, "Not acceptable"),
    "request-timeout": (408, "Request timeout"),
    "payload-too-large": (413, "Payload too large"),
    "unsupported-media-type": (415, "Unsupported media type"),
    "idempotency-key-reused": (422, "Idempotency key used before"),
    "rate-limited": (429, "Too many requests"),
    "internal": (500, "Internal error"),
    "unavailable": (503, "Unavailable"),
}


class ProblemError(SanicException):
    """Ends a request with a problem of type ``kind``; Sanic knows its status where we do not.

    Args:
        kind: the last part of the problem's type, such as ``rate-limited``.
        detail: for developers, in English, without personal data.
        retry_after: seconds until the next attempt makes sense.
        fields: further members of the problem, such as ``errors``.
        headers: of the response.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        retry_after: int | None = None,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind, self.detail = kind, detail
        self.status, self.title = _KINDS[kind]
        super().__init__(detail, self.status, quiet=True)
        self.fields = dict(fields or {})
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.fields["retry_after"] = retry_after
            self.headers["Retry-After"] = str(retry_after)

    def body(self, trace_id: str) -> dict[str, Any]:
        """Return the problem as JSON holds it."""
        return {
            "type": f"urn:skills-bot:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "trace_id": trace_id,
            **self.fields,
        }


def invalid(pointer: str, detail: str) -> ProblemError:
    """Return the problem of one wrong value; ``pointer`` is a JSON Pointer or a header's name."""
    return invalid_all([(pointer, detail)])


def invalid_all(errors: Sequence[tuple[str, str]]) -> ProblemError:
    """Return the problem of several wrong values: (pointer, detail) each."""
    listed = [{"pointer": pointer, "detail": detail} for pointer, detail in errors]
    return ProblemError(
        "invalid-request", "The request is not as the contract says.", fields={"errors": listed}
    )


def unavailable(detail: str, **fields: Any) -> ProblemError:
    """Return the problem of something that fails for now."""
    return ProblemError("unavailable", detail, retry_after=RETRY_SECONDS, fields=fields)


def of_status(status: int) -> ProblemError:
    """Return the problem for an error that the web server found by itself."""
    kind = next((kind for kind, (known, _) in _KINDS.items() if known == status), None)
    if kind is None:
        kind = "invalid-request" if 400 <= status < 500 else "internal"
    return ProblemError(kind, "The web server refused the request.")
