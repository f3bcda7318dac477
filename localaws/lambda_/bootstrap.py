"""Runs a Lambda function's handler, as AWS's Python runtime does; a program of its own.

Started as ``python -I -S -u bootstrap.py EVENTS RESULTS DIRECTORY…``: file descriptors of
the events to come and of the results, and the directories to import from (the unpacked zip and
boto3). Nothing of the project can be imported unless the zip holds it.

An event is a line of JSON with ``event`` (JSON text), ``request_id``, ``deadline_ms`` (Unix time),
``function_arn`` and ``log_stream``. A first line of results says that the module is imported; each
further one is JSON with ``payload`` (JSON text), ``failed`` and ``usable`` (whether more events
make sense). Errors have AWS's form:
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

Handler = Callable[[Any, Any], Any]


class Context:
    """What a handler gets as its second argument."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.aws_request_id = request["request_id"]
        self.invoked_function_arn = request["function_arn"]
        self.log_stream_name = request["log_stream"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.client_context = None
        self.identity = None
        self._deadline_ms = request["deadline_ms"]

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(self._deadline_ms - time.time() * 1000))


class LogHandler(logging.StreamHandler):
    """The root logger's handler, in the text or the JSON form of AWS's runtime."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self.request_id = ""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        when += f".{record.msecs:03.0f}Z"
        if os.environ.get("AWS_LAMBDA_LOG_FORMAT") != "JSON":
            return f"[{record.levelname}]\t{when}\t{self.request_id}\t{text}\n"
        return json.dumps(
            {
                "timestamp": when,
                "level": record.levelname,
                "message": text,
                "logger": record.name,
                "requestId": self.request_id,
            }
        )


def main() -> None:
    """Answer events until there are no more."""
    events = os.fdopen(int(sys.argv[1]), encoding="utf-8")
    results = os.fdopen(int(sys.argv[2]), "w", encoding="utf-8")
    sys.path[:0] = sys.argv[3:]
    log_handler = LogHandler()
    logging.getLogger().addHandler(log_handler)
    handler, broken = load(os.environ["_HANDLER"])
    print("{}", file=results, flush=True)
    for line in events:
        request = json.loads(line)
        log_handler.request_id = request["request_id"]
        failed, payload = call(handler, request) if handler else (True, broken)
        if failed:
            payload = {**payload, "requestId": request["request_id"]}
            log_error(payload)
        sys.stdout.flush()
        result = {"failed": failed, "payload": json.dumps(payload), "usable": handler is not None}
        print(json.dumps(result), file=results, flush=True)


def load(name: str) -> tuple[Handler | None, dict[str, Any]]:
    """Return the handler that ``module.function`` names, or None and the error."""
    module_name, _, function_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        return None, problem("Runtime.ImportModuleError", message)
    except SyntaxError as error:
        message = f"Syntax error in module '{module_name}': {error}"
        return None, problem("Runtime.UserCodeSyntaxError", message)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        return None, problem(type(error).__name__, str(error), frames)
    if not hasattr(module, function_name):
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        return None, problem("Runtime.HandlerNotFound", message)
    return getattr(module, function_name), {}


def call(handler: Handler, request: dict[str, Any]) -> tuple[bool, Any]:
    """Return whether the handler failed, and its answer or the error."""
    try:
        answer = handler(json.loads(request["event"]), Context(request))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]  # without this file
        return True, problem(type(error).__name__, str(error), frames)
    try:
        json.dumps(answer)
    except (TypeError, ValueError) as error:
        return True, problem("Runtime.MarshalError", f"Unable to marshal response: {error}")
    return False, answer


def problem(kind: str, message: str, frames: Iterable[Any] = ()) -> dict[str, Any]:
    """Return an error as AWS answers it."""
    return {
        "errorMessage": message,
        "errorType": kind,
        "stackTrace": traceback.format_list(list(frames)),
    }


def log_error(payload: dict[str, Any]) -> None:
    """Write an error to the log as AWS's runtime does."""
    print(f"[ERROR] {payload['errorType']}: {payload['errorMessage']}")
    if payload["stackTrace"]:
        print("Traceback (most recent call last):\n" + "".join(payload["stackTrace"]), end="")


if __name__ == "__main__":
    main()
