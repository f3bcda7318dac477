"""What is switched on in a process, by its environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot import exposure
from bot.errors import UserError
from bot.observability import logs, steps

if TYPE_CHECKING:
    from bot.observability.endpoint import Address, Endpoint
    from bot.observability.metrics import ActionMetrics, BotMetrics
    from bot.observability.spans import Spans

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

    def observe_rasa(self) -> None:
        """Observe the server that this process will run by Rasa's command line."""
        if not self.any:
            return
        import rasa.core.run

        from bot.observability import rasa_steps

        if self.json_logs:
            logs.take_over_rasa()
        rasa_steps.install()
        configure = rasa.core.run.configure_app

        def configure_app(*arguments: Any, **named: Any) -> Any:
            app = configure(*arguments, **named)

            def metrics() -> BotMetrics:
                from bot.observability.metrics import BotMetrics

                return BotMetrics(lambda: rasa_steps.loaded_model(getattr(app.ctx, "agent", None)))

            self._attach(app, metrics)
            return app

        rasa.core.run.configure_app = configure_app

    def observe_actions(self, app: Any) -> None:
        """Observe the action server ``app`` when it runs."""

        def metrics() -> ActionMetrics:
            from bot.observability.metrics import ActionMetrics

            return ActionMetrics()

        if self.any:
            self._attach(app, metrics)

    def _attach(self, app: Any, metrics: Callable[[], BotMetrics | ActionMetrics]) -> None:
        """Observe while a server of Sanic runs, in each of its processes.

        ``metrics`` makes what steps are counted by; it is called where metrics are served only.
        """
        running: list[BotMetrics | ActionMetrics | Spans] = []
        endpoints: list[Endpoint] = []

        # In the server's own processes: threads do not outlive a fork.
        def start(*_: Any) -> None:
            if self.spans:
                from bot.observability.spans import Spans

                running.append(Spans(self.service.name))
            if self.metrics is not None:
                from bot.observability.endpoint import Endpoint

                counted = metrics()
                running.append(counted)
                endpoints.append(Endpoint(self.metrics, counted.registry))
            for observer in running:
                steps.add(observer)

        def stop(*_: Any) -> None:
            for endpoint in endpoints:
                endpoint.close()
            for observer in running:
                steps.remove(observer)
                observer.close()

        app.register_listener(start, "before_server_start")
        app.register_listener(stop, "after_server_stop")


def _address(service: Service, environ: Mapping[str, str]) -> Address | None:
    text = environ.get(service.port_variable, "").strip()
    if not text:
        return None
    from bot.observability.endpoint import Address

    host = environ.get(HOST_VARIABLE, "").strip() or "127.0.0.1"
    token = environ.get(TOKEN_VARIABLE, "")
    workers = environ.get("SANIC_WORKERS", "")
    processes = max(1, int(workers)) if workers.isdecimal() else 1
    if not text.isdecimal() or not 0 < int(text) <= 65536 - processes:
        raise UserError(f"{service.port_variable} must be a port, not {text!r}.")
    if len(token) < exposure.MIN_SECRET_LENGTH and (token or not exposure.is_loopback(host)):
        raise UserError(
            f"Anybody could read the metrics on {host}: set {TOKEN_VARIABLE} to a secret of "
            f"{exposure.MIN_SECRET_LENGTH} characters or more, which Prometheus sends as a bearer "
            f"token, or leave {HOST_VARIABLE} at 127.0.0.1. See docs/observability.md."
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
