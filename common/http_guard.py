"""What both web servers hold every request to, before Rasa or ``rasa_sdk`` sees it.

Sanic 21.12, which both pin, takes ``-1``, ``+32`` and ``3_2`` for lengths of a body (and spins on
the first), answers 500 to what it cannot parse, counts the time of a request from its last byte,
and reads bodies of 100 MB. :func:`install` mends that for all servers of a process.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import re
import sys
from collections.abc import Callable
from time import monotonic

from sanic import Sanic
from sanic.exceptions import InvalidUsage, RequestTimeout, SanicException
from sanic.headers import AcceptContainer
from sanic.http import Http, Stage
from sanic.request import Request
from sanic.server.protocols.http_protocol import HttpProtocol

# A body has so long from the end of the headers, which have SANIC_REQUEST_TIMEOUT (60).
BODY_SECONDS = 10.0
# Of a body, unless SANIC_REQUEST_MAX_SIZE says so. Rasa's HTTP API takes training data.
BODY_BYTES = 1024 * 1024
# Of one that will be refused.
STRANGER_BYTES = 16 * 1024
# A process whose event loop stands still for so long ends, to be started again.
STUCK_SECONDS = 60.0

# RFC 9110 and 9112; nothing is taken that another server could read another way.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEAD = re.compile(rb"%b [!-~]+ HTTP/1\.[01](?:\r\n%b:[\t -~\x80-\xff]*)*" % (_TOKEN, _TOKEN))
_AUTHORITY = r"(\[[0-9A-Fa-f:.]+\]|[^\s\[\]/?#@:\\]*)(:[0-9]{0,5})?"
# At most one of each, of this form.
_FIELDS = {
    "content-length": re.compile("[0-9]{1,15}"),
    "transfer-encoding": re.compile("chunked"),
    "host": re.compile(_AUTHORITY),
    "origin": re.compile(rf"null|[a-z][a-z0-9+.-]*://{_AUTHORITY}"),
}
_CHUNK = re.compile(rb"\r\n[0-9A-Fa-f]{1,8}[ \t]*(;[^\r\n]*)?\r\n")
_CHUNK_BYTES = 64


class StrictHttp(Http):
    """A connection of Sanic that takes well-formed requests, for a limited time."""

    async def http1_request_header(self) -> None:
        """Receive a head.

        Raises:
            SanicException: it is not as it should be; the connection is then closed.
        """
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.protocol.request_timeout, self._expire, None)
        try:
            await super().http1_request_header()
            _require_well_formed(self.request)
            _read_accept(self.request)
        except Exception as error:
            # Of what was not understood nothing is read on.
            self.request, self.request_body = None, None  # type: ignore[assignment]
            # In words of ours: Sanic's may quote what cannot be written.
            status = error.status_code if isinstance(error, SanicException) else 400
            raise SanicException("The request is malformed.", status, quiet=True) from None
        finally:
            timer.cancel()
        if self.request_body:
            loop.call_later(BODY_SECONDS, self._expire, self.request)
            self.request.conn_info = self.protocol.conn_info  # as Sanic does a little later
            admits = getattr(self.protocol.app.ctx, "admits", None)
            if admits is not None and not admits(self.request):
                self.request_max_size = min(self.request_max_size, STRANGER_BYTES)

    async def read(self) -> bytes | None:
        """Receive a part of a body.

        Raises:
            SanicException: it is not as it should be, or too large.
        """
        if self.request_body == "chunked" and not self.request_bytes_left:
            buffer = self.recv_buffer
            while buffer.find(b"\r\n", 3) < 0 and len(buffer) <= _CHUNK_BYTES:
                await self._receive_more()
            if not _CHUNK.match(buffer):
                self.request_body, self.keep_alive = None, False
                if self.stage is Stage.IDLE:  # there has been an answer
                    return None
                raise InvalidUsage("Bad chunked encoding")
        return await super().read()

    def create_empty_request(self) -> None:
        """Make a request to answer, of one that was not understood; middleware needs none of it."""
        try:
            super().create_empty_request()
        except Exception:  # the address is what was not understood
            self.url = None
            super().create_empty_request()
        self.request.request_middleware_started = True

    def _expire(self, request: Request | None) -> None:
        """End ``request``, or the head that is to be one, unless it has come."""
        task = self.protocol._task
        if self.request is not request or task is None:
            return
        if self.request_body or (request is None and self.stage is Stage.REQUEST):
            self.request_body = None
            self.exception = RequestTimeout("The request did not come in time.")
            task.cancel()


def _require_well_formed(request: Request) -> None:
    headers = request.headers
    given = {name: headers.getall(name, []) for name in _FIELDS}
    if (
        not _HEAD.fullmatch(request.head)
        or any(len(values) > 1 for values in given.values())
        or not all(_FIELDS[name].fullmatch(value) for name in given for value in given[name])
        or (given["content-length"] and given["transfer-encoding"])
        or (request.version == "1.1" and not given["host"])
    ):
        raise InvalidUsage("Bad Request")


def _read_accept(request: Request) -> None:
    """Have Sanic take an ``Accept`` that it cannot read for none: it reads it to show an error."""
    try:
        _ = request.accept
    except Exception:
        request.parsed_accept = AcceptContainer()


def _set_up_connection(protocol: HttpProtocol) -> None:
    protocol._http = StrictHttp(protocol)
    protocol._time = monotonic()
    protocol.check_timeouts()
    context = protocol.app.ctx
    if getattr(context, "ends_where_stuck", False):  # from the first connection on
        context.ends_where_stuck = False
        context.watch = asyncio.get_running_loop().create_task(_end_where_stuck())


def install() -> None:
    """Hold all requests to servers of this process to the rules of this module."""
    HttpProtocol._setup_connection = _set_up_connection  # type: ignore[method-assign]


def protect(
    app: Sanic, body_bytes: int = BODY_BYTES, admits: Callable[[Request], bool] | None = None
) -> None:
    """Do so for ``app`` as a server of its own: bodies are limited, and it ends where it is stuck.

    Args:
        body_bytes: the largest body, where ``SANIC_REQUEST_MAX_SIZE`` is not set.
        admits: whether who sends a request, whose body is still to come, will be answered.
    """
    install()
    app.ctx.admits = admits
    if "SANIC_REQUEST_MAX_SIZE" not in os.environ:
        app.config.REQUEST_MAX_SIZE = body_bytes
    # At a terminal there is somebody, with a debugger maybe.
    app.ctx.ends_where_stuck = not (Sanic.test_mode or (sys.stdin and sys.stdin.isatty()))


async def _end_where_stuck() -> None:
    """Have this process end, and say where it was, once its event loop stands still.

    Whoever has started it (compose, Kubernetes, systemd) starts it again.
    """
    try:
        while True:
            faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)
            await asyncio.sleep(STUCK_SECONDS / 6)
    finally:
        faulthandler.cancel_dump_traceback_later()
