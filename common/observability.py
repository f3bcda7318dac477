"""What is switched on in a process, by its environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common import environment, logs, tracing
from common.errors import UserError

if TYPE_CHECKING:
    from common.metrics import Metrics
    from common.metrics_server import Address, Endpoint
    from common.spans import Spans

HOST_VARIABLE = "METRICS_HOST"
TOKEN_VARIABLE = "METRICS_TOKEN"
EXPORTER_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"


@dataclass(frozen=True)
class Service:
    """A server of ours: its name in traces, and the variable with the port of its metrics."""

    name: str
    port_variable: str


BOT = Service("skills-bot", "METRICS_PORT")
ACTIONS = Service("skills-bot-actions", "ACTIONS_METRICS_PORT")


@dataclass(frozen=True)
class Observability:
    """What of ``service`` is observed."""

    service: Service
    metrics: Address | None
    spans: bool
    json_logs: bool

    @classmethod
    def of(cls, service: Service, environ: Mapping[str, str]) -> Observability:
        """Read the environment.

        Raises:
            UserError: a setting is wrong, or anybody could read the metrics.
        """
        return cls(service, _address(service, environ), _spans(environ), logs.wanted(environ))

    @property
    def any(self) -> bool:
        """Whether steps are of any use."""
        return self.spans or self.metrics is not None or self.json_logs

    def attach(self, app: Any, metrics: Callable[[], Metrics]) -> None:
        """Observe while a server of Sanic runs, in each of its processes.

        ``metrics`` makes what steps are counted by; it is called where metrics are served only.
        """
        running: list[Metrics | Spans] = []
        endpoints: list[Endpoint] = []

        # In the server's own processes: threads do not outlive a fork.
        def start(*_: Any) -> None:
            if self.spans:
                from common.spans import Spans

                running.append(Spans(self.service.name))
            if self.metrics is not None:
                from common.metrics_server import Endpoint

                counted = metrics()
                running.append(counted)
                endpoints.append(Endpoint(self.metrics, counted.registry))
            for observer in running:
                tracing.add(observer)

        def stop(*_: Any) -> None:
            for endpoint in endpoints:
                endpoint.close()
            for observer in running:
                tracing.remove(observer)
                observer.close()

        app.register_listener(start, "before_server_start")
        app.register_listener(stop, "after_server_stop")


def _address(service: Service, environ: Mapping[str, str]) -> Address | None:
    text = environ.get(service.port_variable, "").strip()
    if not text:
        return None
    from common.metrics_server import Address

    host = environ.get(HOST_VARIABLE, "").strip() or "127.0.0.1"
    token = environ.get(TOKEN_VARIABLE, "")
    workers = environ.get("SANIC_WORKERS", "")
    processes = max(1, int(workers)) if workers.isdecimal() else 1
    if not text.isdecimal() or not 0 < int(text) <= 65536 - processes:
        raise UserError(f"{service.port_variable} must be a port, not {text!r}.")
    if len(token) < environment.MIN_SECRET_LENGTH and (token or not environment.is_loopback(host)):
        raise UserError(
            f"Anybody could read the metrics on {host}: set {TOKEN_VARIABLE} to a secret of "
            f"{environment.MIN_SECRET_LENGTH} characters or more, which Prometheus sends as a "
            f"bearer token, or leave {HOST_VARIABLE} at 127.0.0.1. See docs/observability.md."
        )
    return Address(host, int(text), token, processes)


def _spans(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip() == "none":
        return False
    if not any(environ.get(name, "").strip() for name in EXPORTER_VARIABLES):
        return False
    for name in PROTOCOL_VARIABLES:
        protocol = environ.get(name, "").strip()
        if protocol not in ("", PROTOCOL):
            raise UserError(
                f"{name}: spans are sent by {PROTOCOL}, not {protocol}; the port of a collector "
                "is 4318 for it."
            )
    return True
