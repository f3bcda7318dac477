"""Logs as JSON, one object a line, with the trace that each belongs to: ``LOG_FORMAT=json``.

Fields: ``time`` (UTC), ``level``, ``logger``, ``message``, ``trace_id`` and ``span_id`` where it
is known, ``event`` (Rasa's name of what happened), ``error`` (where an error happened).
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Mapping, MutableMapping
from datetime import datetime, timezone
from typing import Any

from common import environment
from common.errors import UserError, describe
from common.tracing import current_trace

VARIABLE = "LOG_FORMAT"
JSON = "json"
HUMAN = "human"


def wanted(environ: Mapping[str, str]) -> bool:
    """Return whether logs are to be JSON.

    Raises:
        UserError: there is no such format.
    """
    given = environ.get(VARIABLE, "").strip().lower() or HUMAN
    if given not in (JSON, HUMAN):
        raise UserError(f"{VARIABLE} must be {JSON} or {HUMAN}, not {given!r}.")
    return given == JSON


class JsonFormatter(logging.Formatter):
    """Makes one line of JSON of a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        # As Rasa's structured logs come, see `structured`.
        if info := getattr(record, "event_info", None):
            line["event"], line["message"] = line["message"], str(info)
        trace = current_trace()
        if trace is not None:
            line |= {"trace_id": trace.trace_id, "span_id": trace.span_id}
        if record.exc_info and record.exc_info[1] is not None:
            # Not its message, which may quote what a user has typed.
            line["error"] = describe(record.exc_info[1])
        elif described := getattr(record, "described", None):
            line["error"] = described
        return json.dumps(line, ensure_ascii=False)


def install() -> None:
    """Have this process write all its logs and warnings as JSON, to the standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().handlers = [handler]
    # For loggers that pass nothing on and have no handler: Sanic's, as Rasa configures them.
    logging.lastResort = handler
    logging.captureWarnings(True)


def structured() -> None:
    """Have the structured logs of Rasa handed to us, rather than made into a text before."""
    import structlog

    rendering = (type(structlog.processors.dict_tracebacks), structlog.processors.JSONRenderer)
    processors = [
        one for one in structlog.get_config()["processors"] if not isinstance(one, rendering)
    ]
    if isinstance(processors[-1], structlog.dev.ConsoleRenderer):
        processors.pop()
    structlog.configure(processors=[*processors, _hand_over])


def leave_out_texts() -> None:
    """Leave what a user may have typed out of Rasa's logs and warnings, whatever their format.

    Its structured logs quote messages, and so do the messages of errors. What is logged for
    ``--debug`` stays as it is.
    """
    import structlog

    # In place, for loggers that are in use already.
    processors = structlog.get_config()["processors"]
    if _without_texts not in processors:
        processors.insert(_first_rendering(processors), _without_texts)
    for message in ("Failed to parse arguments in line", "Parsed an (intent|entity) "):
        warnings.filterwarnings("ignore", message=message, category=UserWarning)
    if not environment.is_development():
        logging.Formatter.formatException = _format_exception  # type: ignore


def _first_rendering(processors: list[Any]) -> int:
    """Return where an event becomes text: the last processor, or an error's traceback before."""
    import structlog

    tracebacks = structlog.processors.dict_tracebacks
    return processors.index(tracebacks) if tracebacks in processors else len(processors) - 1


def _without_texts(_: Any, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    if method == "debug":
        return event
    kept = {name: event[name] for name in ("event", "event_info", "level") if name in event}
    error = event.get("exc_info")
    error = sys.exc_info()[1] if error is True else error[1] if isinstance(error, tuple) else error
    return kept | ({"error": describe(error)} if isinstance(error, BaseException) else {})


def _format_exception(_: logging.Formatter, info: Any) -> str:
    return describe(info[1]) if info and info[1] is not None else ""


def _hand_over(_: Any, __: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of :mod:`logging`, without what may hold a user's text."""
    return {
        "msg": event["event"],
        "extra": {"event_info": event.get("event_info"), "described": event.get("error")},
        "exc_info": event.get("exc_info"),
    }
