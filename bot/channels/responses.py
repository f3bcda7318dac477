"""HTTP as the contract wants it: content negotiation, checked parameters, responses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from sanic.request import Request
from sanic.response import HTTPResponse

from bot.channels import openapi
from bot.channels.problems import CONTENT_TYPE, ProblemError, invalid
from common.trace_context import trace_of

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


# --- requests ---------------------------------------------------------------------------------


def trace_id(request: Request) -> str:
    """Return the id of the trace that ``request`` belongs to."""
    if not hasattr(request.ctx, "trace"):  # the web server has refused it before we saw it
        request.ctx.trace = trace_of(None)
    return str(request.ctx.trace.trace_id)


def header(request: Request, name: str) -> str | None:
    """Return a header that the contract describes; its component is named without the hyphens.

    Raises:
        ProblemError: it is not as the contract says.
    """
    value = request.headers.get(name)
    schema = openapi.document()["components"]["parameters"][name.replace("-", "")]["schema"]
    return None if value is None else _matching(name, str(value), schema["pattern"])


def page_of(request: Request) -> tuple[int, int | None]:
    """Return the parameters ``limit`` and ``before`` of a request for the history.

    Raises:
        ProblemError: one is not as the contract says.
    """
    listed = openapi.document()["paths"]["/history"]["get"]["parameters"]
    schemas = {item["name"]: item["schema"] for item in listed if "name" in item}
    # By default Sanic leaves out parameters without a value, which are wrong, too.
    arguments = request.get_args(keep_blank_values=True)
    limit, before = arguments.get("limit"), arguments.get("before")
    lowest, highest = schemas["limit"]["minimum"], schemas["limit"]["maximum"]
    if limit is None:
        limit = str(schemas["limit"]["default"])
    if not re.fullmatch("[0-9]{1,9}", limit) or not lowest <= int(limit) <= highest:
        raise invalid("limit", f"from {lowest} to {highest}")
    if before is not None:
        before = int(_matching("before", before, schemas["before"]["pattern"]))
    return int(limit), before


def _matching(name: str, value: str, pattern: str) -> str:
    if not re.fullmatch(pattern, value):
        raise invalid(name, f"pattern: {pattern}")
    return value


def require_json(accept: str | None) -> None:
    """Raise a :class:`ProblemError` where the client does not take JSON."""
    if accept and not _quality(accept, JSON):
        raise ProblemError("not-acceptable", f"The answer is {JSON}.")


def prefers_events(accept: str | None) -> bool:
    """Return whether the answer is to be streamed rather than sent as one JSON object.

    Raises:
        ProblemError: the client takes neither.
    """
    if accept and EVENT_STREAM in accept.lower():
        events = _quality(accept, EVENT_STREAM)
        if events and events >= _quality(accept, JSON):
            return True
    require_json(accept)
    return False


def _quality(accept: str, media_type: str) -> float:
    """Return how much ``accept`` wants ``media_type`` (RFC 9110, 12.5.1): 0 for not at all."""
    ranges = {media_type: 2, f"{media_type.partition('/')[0]}/*": 1, "*/*": 0}
    closest, quality = -1, 0.0
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if ranges.get(name, -1) > closest:
            weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            closest = ranges[name]
            quality = float(weight) if re.fullmatch(r"[01](\.[0-9]{0,3})?", weight) else 0.0
    return quality


# --- responses --------------------------------------------------------------------------------


def response_headers(request: Request) -> dict[str, str]:
    """Return the headers of every response."""
    return {
        "Trace-Id": trace_id(request),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


def json_response(
    request: Request,
    body: Any,
    headers: Mapping[str, str] | None = None,
    status: int = 200,
    content_type: str = JSON,
) -> HTTPResponse:
    """Return ``body`` as a response."""
    return HTTPResponse(
        json.dumps(body, ensure_ascii=False).encode(),
        status,
        {**response_headers(request), **(headers or {})},
        content_type,
    )


def problem_response(request: Request, problem: ProblemError) -> HTTPResponse:
    """Return ``problem`` as a response."""
    body = problem.body(trace_id(request))
    return json_response(request, body, problem.headers, problem.status, CONTENT_TYPE)


def event(name: str, data: Any) -> str:
    """Return a server-sent event (https://html.spec.whatwg.org/#server-sent-events)."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
