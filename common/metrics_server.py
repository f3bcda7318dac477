"""``/metrics``: an address of its own, apart from what users reach.

In a thread: what it shows is wanted most where the event loop is held up.
"""

from __future__ import annotations

import hmac
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

logger = logging.getLogger(__name__)

PATH = "/metrics"


@dataclass(frozen=True)
class Address:
    """Where metrics are served: the first free one of ``processes`` ports from ``port`` on.

    ``token`` must come with every request; empty where only this machine reaches it.
    """

    host: str
    port: int
    token: str = ""
    processes: int = 1


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    # Nobody holds a thread for longer.
    timeout = 10

    def log_message(self, *_: Any) -> None:
        pass


class Endpoint:
    """A running server of ``/metrics``; ``port`` is the one that it has got."""

    def __init__(self, address: Address, registry: CollectorRegistry) -> None:
        """Begin to serve.

        Raises:
            OSError: no port is free.
        """
        application = _application(registry, address.token)
        self._server = _bind(address, application)
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()
        logger.info("Metrics of this process: http://%s:%d%s", address.host, self.port, PATH)

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


def _bind(address: Address, application: Any) -> WSGIServer:
    kind = _IPv6Server if ":" in address.host else _Server
    last = address.port + address.processes - 1
    for port in range(address.port, last + 1):
        try:
            return make_server(address.host, port, application, kind, _Handler)
        except OSError:
            if port == last:
                raise
    raise AssertionError


def _application(registry: CollectorRegistry, token: str) -> Any:
    """Return a WSGI application."""
    metrics = make_wsgi_app(registry, disable_compression=True)
    expected = f"Bearer {token}".encode()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = str(environ.get("HTTP_AUTHORIZATION", "")).encode("latin-1", "replace")
        if token and not hmac.compare_digest(given, expected):
            start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer")])
            return [b""]
        if environ.get("PATH_INFO") != PATH:
            start_response("404 Not Found", [])
            return [b""]
        result: Iterable[bytes] = metrics(environ, start_response)
        return result

    return answer
