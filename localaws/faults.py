"""Faults on demand: errors, slow answers, lost answers, jobs that end badly."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import UnknownServiceError

from localaws.protocol import AwsError, Call, service_model

_TYPES: dict[str, Any] = {  # those of the keys that are no texts
    "status": int,
    "crash_caller": bool,
    "delay_seconds": (int, float),
    "times": (int, type(None)),
}


@dataclasses.dataclass
class Fault:
    """What goes wrong, and when.

    Attributes:
        service: boto3's name of the service, ``comprehend`` for instance.
        operation: The operation, ``ClassifyDocument`` for instance; ``*``: every one.
        code: Error to answer; empty: none.
        message: The error's message, or the reason of ``outcome``.
        status: HTTP status of the error; 0: that of the service's model, 400 if it has none.
        crash_caller: Whether to kill the Lambda function that makes the request.
        when: ``before``: the error or crash comes instead of the operation. ``after``: the
            operation takes effect, and only the caller does not learn of it.
        delay_seconds: Local seconds before the answer, or until the faults are cleared. Longer
            than the caller's patience, it is a network that swallows packets.
        outcome: How what the operation starts shall end, ``IN_ERROR`` for instance; see README.md.
        resource: Only requests that mention it; empty: all.
        times: How many requests; None: until cleared.
    """

    service: str
    operation: str = "*"
    code: str = ""
    message: str = ""
    status: int = 0
    crash_caller: bool = False
    when: str = "before"
    delay_seconds: float = 0
    outcome: str = ""
    resource: str = ""
    times: int | None = None

    @classmethod
    def from_json(cls, values: Any) -> Fault:
        """Return the fault that a JSON object describes.

        Raises:
            ValueError: The object is not right; the message says why.
        """
        if not isinstance(values, Mapping):
            raise ValueError("A fault is a JSON object.")
        known = {field.name: field for field in dataclasses.fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"'{name}' is no key of a fault; known: {', '.join(known)}.")
            if not isinstance(value, _TYPES.get(name, str)):
                raise ValueError(f"'{name}' is {value!r}; it has the wrong type.")
        if "service" not in values:
            raise ValueError("'service' is missing.")
        fault = cls(**values)
        if fault.when not in ("before", "after"):
            raise ValueError(f"'when' is {fault.when!r}; it must be 'before' or 'after'.")
        if not (fault.code or fault.crash_caller or fault.delay_seconds or fault.outcome):
            raise ValueError(
                "One of 'code', 'crash_caller', 'delay_seconds' and 'outcome' must be given."
            )
        return fault

    def error(self) -> AwsError:
        """Return the error to answer."""
        if self.crash_caller:
            return AwsError("InternalFailure", "The caller was killed by a fault", 500)
        status = self.status or _status(self.service, self.code)
        return AwsError(self.code, self.message or f"{self.code}, injected by a fault", status)


class Faults:
    """The faults that are set, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._cleared = threading.Event()

    def add(self, fault: Fault) -> None:
        """Set a fault."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Remove every fault, and let go what they hold up."""
        with self._lock:
            self._faults.clear()
            self._cleared.set()
            self._cleared = threading.Event()

    def hold(self, seconds: float) -> None:
        """Return after ``seconds``, or as soon as the faults are cleared."""
        self._cleared.wait(seconds)

    def listed(self) -> list[dict[str, Any]]:
        """Return the faults that are still to happen."""
        with self._lock:
            return [dataclasses.asdict(fault) for fault in self._faults]

    def of_request(self, call: Call) -> Fault | None:
        """Return the error or the delay that a request shall meet, and count it."""
        with self._lock:
            if not self._faults:
                return None  # so that the body of a request need not be read
        text = f"{call.request.path} {call.request.get_data(as_text=True)}"
        return self._take(call.service, call.operation, text, outcome=False)

    def outcome(self, service: str, operation: str, resource: str) -> Fault | None:
        """Return how what an operation starts shall end, and count it; None: as it does."""
        return self._take(service, operation, resource, outcome=True)

    def _take(self, service: str, operation: str, text: str, *, outcome: bool) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if (
                    bool(fault.outcome) is outcome
                    and fault.service == service
                    and fault.operation in ("*", operation)
                    and fault.resource in text
                ):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self._faults.remove(fault)
                    return fault
        return None


def _status(service: str, code: str) -> int:
    try:
        shape = service_model(service).shape_for_error_code(code)
    except UnknownServiceError:
        shape = None
    if shape is None:
        return 400
    return int(shape.metadata.get("error", {}).get("httpStatusCode", 400))
