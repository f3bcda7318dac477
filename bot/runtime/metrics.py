"""The metrics of Rasa's server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from common.metrics import PART_BUCKETS, PREFIX, Metrics
from common.tracing import Step
from components.remote import RemoteClassifier, State

# Seconds. A turn takes some 10 ms, and patience ends at 30 s.
_TURN_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)

# The steps of a turn that are called its stages.
_STAGES = frozenset({"lock", "load", "nlu", "policy", "action", "save"})


@dataclass(frozen=True)
class LoadedModel:
    """A model of Rasa: its intent classifiers by name, each with the part that asks a service, None
    where it is served in this process."""

    classifiers: Sequence[tuple[str, RemoteClassifier | None]]


class BotMetrics(Metrics):
    """Of Rasa's server.

    Args:
        model: returns the model that is loaded at present, or None.
    """

    def __init__(self, model: Callable[[], LoadedModel | None]) -> None:
        super().__init__()
        self.requests = self.counter(
            "requests", "Requests to the mobile channel.", "route", "method", "status"
        )
        self.request_seconds = self.histogram(
            "request_seconds", "Time to the end of the response.", _TURN_BUCKETS, "route"
        )
        self.turns = self.counter(
            "turns", "Messages that went through the bot.", "channel", "outcome"
        )
        self.turn_seconds = self.histogram(
            "turn_seconds", "Time of a turn, without waiting for the one before.", _TURN_BUCKETS
        )
        self.turns_in_progress = self.gauge("turns_in_progress", "Turns under way.")
        self.stage_seconds = self.histogram(
            "stage_seconds", "Time of a part of a turn.", PART_BUCKETS, "stage"
        )
        self.component_seconds = self.histogram(
            "component_seconds", "Time of a component.", PART_BUCKETS, "component"
        )
        self.component_errors = self.counter(
            "component_errors", "Components that failed.", "component"
        )
        self.intents = self.counter(
            "intents", "Messages by what was understood.", "intent", "source"
        )
        self.fallbacks = self.counter("fallbacks", "Typed messages that were not understood.")
        self.confidence = self.histogram(
            "confidence",
            "The classifier's confidence in typed messages, before the fallback.",
            _CONFIDENCE_BUCKETS,
        )
        self.actions = self.counter("actions", "Actions that the bot ran.", "action")
        self.action_errors = self.counter(
            "action_errors", "Actions that failed.", "action", "error"
        )
        self.registry.register(_ModelCollector(model))
        self.in_progress = {"turn": self.turns_in_progress}
        self.records = {
            "request": self._request,
            "turn": self._turn,
            "component": self._component,
            "nlu": self._nlu,
            "action": self._action,
            **dict.fromkeys(_STAGES - {"nlu", "action"}, self._stage),
        }

    def _request(self, step: Step) -> None:
        route, method = str(step.attributes["route"]), str(step.attributes["method"])
        status = str(step.attributes.get("status", "none"))
        self.requests.labels(route, method, status).inc()
        self.request_seconds.labels(route).observe(step.seconds)

    def _turn(self, step: Step) -> None:
        outcome = "failed" if step.error else "answered"
        self.turns.labels(step.attributes["channel"], outcome).inc()
        self.turn_seconds.observe(step.seconds)

    def _stage(self, step: Step) -> None:
        self.stage_seconds.labels(step.name).observe(step.seconds)

    def _component(self, step: Step) -> None:
        self.component_seconds.labels(step.target).observe(step.seconds)
        if step.error:
            self.component_errors.labels(step.target).inc()
        if "confidence" in step.attributes:
            self.confidence.observe(float(step.attributes["confidence"]))  # type: ignore[arg-type]

    def _nlu(self, step: Step) -> None:
        self._stage(step)
        if "intent" in step.attributes:
            self.intents.labels(step.attributes["intent"], step.attributes["source"]).inc()
        if step.attributes.get("fallback"):
            self.fallbacks.inc()

    def _action(self, step: Step) -> None:
        self._stage(step)
        self.actions.labels(step.target).inc()
        if step.error:
            self.action_errors.labels(step.target, step.error).inc()


class _ModelCollector(Collector):
    """The loaded model, and what a classifier that is served elsewhere says of itself."""

    def __init__(self, model: Callable[[], LoadedModel | None]) -> None:
        self._model = model

    def collect(self) -> Iterator[Metric]:
        """Give the metrics of this moment."""
        info = InfoMetricFamily(f"{PREFIX}_classifier", "The intent classifier in use.")
        texts = CounterMetricFamily(
            f"{PREFIX}_remote_texts",
            "Texts for a remote classifier: answered, from the cache, or unanswered.",
            labels=["classifier", "outcome"],
        )
        requests = CounterMetricFamily(
            f"{PREFIX}_remote_requests", "Requests to a remote classifier.", labels=["classifier"]
        )
        failures = CounterMetricFamily(
            f"{PREFIX}_remote_failures",
            "Requests to a remote classifier that failed.",
            labels=["classifier", "code"],
        )
        opened = CounterMetricFamily(
            f"{PREFIX}_remote_breaker_opened",
            "How often the circuit breaker opened.",
            labels=["classifier"],
        )
        breaker = GaugeMetricFamily(
            f"{PREFIX}_remote_breaker",
            "1 for the state that the circuit breaker is in.",
            labels=["classifier", "state"],
        )
        model = self._model()
        for name, remote in model.classifiers if model else ():
            served = "remotely" if remote else "locally"
            info.add_metric([], {"classifier": name, "served": served})
            if remote is None:
                continue
            counts = remote.statistics()
            outcomes = {
                "answered": counts["texts"] - counts["cached"] - counts["unanswered"],
                "cached": counts["cached"],
                "unanswered": counts["unanswered"],
            }
            for outcome, number in outcomes.items():
                texts.add_metric([name, outcome], number)
            requests.add_metric([name], counts["requests"])
            opened.add_metric([name], counts["opened"])
            for code, number in counts["failures"].items():
                failures.add_metric([name, code], number)
            present = remote.state
            for state in State:
                breaker.add_metric([name, state.value], state is present)
        yield GaugeMetricFamily(
            f"{PREFIX}_model_loaded", "Whether a model is loaded.", value=model is not None
        )
        yield from (info, texts, requests, failures, opened, breaker)
