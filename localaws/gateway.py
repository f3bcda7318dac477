"""The server's front: our own operations and faults; everything else goes to moto."""

from __future__ import annotations

import collections
import io
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.wrappers import Request, Response

from localaws import protocol
from localaws.faults import Fault, Faults
from localaws.protocol import AwsError, Call
from localaws.settings import Settings, numeric_fields

log = logging.getLogger(__name__)
_CALLS_KEPT = 10_000


class Gateway:
    """A WSGI application.

    Args:
        moto: moto's WSGI application.
        services: boto3's names of services, each with an object that has operations of it, see
            :func:`localaws.protocol.operation`.
        settings: To be shown and changed under ``/localaws/settings``.
        faults: To be set under ``/localaws/faults``.
        crash: Kills the Lambda function that has an access key.
        reset: Forgets everything, for ``/localaws/reset``.
    """

    def __init__(
        self,
        moto: Callable[..., Iterable[bytes]],
        services: Iterable[tuple[str, Any]],
        settings: Settings,
        faults: Faults,
        crash: Callable[[str], None],
        reset: Callable[[], None],
    ) -> None:
        self._moto = moto
        self._operations = {
            (service, name): method
            for service, implementation in services
            for name, method in protocol.operations(implementation).items()
        }
        self._settings = settings
        self._faults = faults
        self._crash = crash
        self._reset = reset
        self._counted = itertools.count(1)
        self._calls: collections.deque[dict[str, Any]] = collections.deque(maxlen=_CALLS_KEPT)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request = _with_body(environ)
        if call := protocol.identify(request):
            begin = time.monotonic()
            response = self._answer(call)
            self._record(call, response.status_code, time.monotonic() - begin)
        elif request.path.startswith("/localaws"):
            response = self._control(request)
        else:
            response = self._forward(request)
        return response(environ, start_response)

    def _answer(self, call: Call) -> Response:
        fault = self._faults.of_request(call)
        if fault and fault.delay_seconds:
            self._faults.hold(fault.delay_seconds)
        if fault is None or not (fault.code or fault.crash_caller):
            every = int(self._settings.throttle_every)
            if every and next(self._counted) % every == 0:
                return protocol.error_response(call, _too_often(call))
            return self._perform(call)
        if fault.when == "after":
            response = self._perform(call)
            if response.status_code >= 400:
                return response
        if fault.crash_caller:
            self._crash(call.access_key)
        return protocol.error_response(call, fault.error())

    def _perform(self, call: Call) -> Response:
        method = self._operations.get((call.service, call.operation))
        try:
            if method is None:
                return self._forward(call.request)
            answer = method(call)
            if answer is protocol.TO_MOTO:
                return self._forward(call.request)
        except AwsError as error:
            return protocol.error_response(call, error)
        except NotImplementedError:  # moto's
            message = f"The local AWS has no {call.operation} of {call.service}"
            return protocol.error_response(call, AwsError("UnknownOperationException", message))
        except Exception:
            log.exception("%s of %s failed", call.operation, call.service)
            message = "The local AWS has a fault of its own, see its log"
            return protocol.error_response(call, AwsError("InternalFailure", message, 500))
        return answer if isinstance(answer, Response) else protocol.json_response(answer)

    def _forward(self, request: Request) -> Response:
        return Response.from_app(self._moto, request.environ, buffered=True)

    def _record(self, call: Call, status: int, seconds: float) -> None:
        self._calls.append(
            {
                "service": call.service,
                "operation": call.operation,
                "status": status,
                "time": time.time(),
            }
        )
        log.info("%s %s: %d in %.3f s", call.service, call.operation, status, seconds)

    def _control(self, request: Request) -> Response:
        """Answer under ``/localaws``; errors are 400 with ``{"error": …}``."""
        try:
            answer = self._controlled(request)
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        if answer is None:
            return _json({"error": f"There is no {request.method} {request.path}."}, 404)
        return _json(answer)

    def _controlled(self, request: Request) -> Any:
        match request.method, request.path.rstrip("/"):
            case "GET", "/localaws/faults":
                return self._faults.listed()
            case "POST", "/localaws/faults":
                self._faults.add(Fault.from_json(request.get_json(force=True)))
                return self._faults.listed()
            case "DELETE", "/localaws/faults":
                self._faults.clear()
                return []
            case "GET", "/localaws" | "/localaws/settings":
                return self._shown_settings()
            case "POST", "/localaws/settings":
                self._settings.update(request.get_json(force=True))
                return self._shown_settings()
            case "GET", "/localaws/calls":
                wanted = request.args.to_dict().items()
                return [
                    call
                    for call in list(self._calls)
                    if all(str(call.get(key)) == value for key, value in wanted)
                ]
            case "DELETE", "/localaws/calls":
                self._calls.clear()
                return []
            case "POST", "/localaws/reset":
                self._reset()
                self._faults.clear()
                self._calls.clear()
                return {}
        return None

    def _shown_settings(self) -> dict[str, float]:
        return {field.name: getattr(self._settings, field.name) for field in numeric_fields()}


def _too_often(call: Call) -> AwsError:
    if call.service == "s3":
        return AwsError("SlowDown", "Please reduce your request rate.", 503)
    return AwsError("ThrottlingException", "Rate exceeded")


def _with_body(environ: dict[str, Any]) -> Request:
    """Return a request whose body both we and moto can read, whichever comes first."""
    request = Request(environ)
    body = request.get_data()
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return request


def _json(answer: Any, status: int = 200) -> Response:
    return Response(json.dumps(answer), status, content_type="application/json")
