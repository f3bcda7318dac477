"""The metrics of the action server."""

from __future__ import annotations

from common.metrics import PART_BUCKETS, Metrics
from common.tracing import Step


class ActionMetrics(Metrics):
    """Of the action server."""

    def __init__(self) -> None:
        super().__init__()
        self.executions = self.counter(
            "executions", "Actions that the action server ran.", "action", "outcome"
        )
        self.execution_seconds = self.histogram(
            "execution_seconds", "Time of an action.", PART_BUCKETS, "action"
        )
        self.executions_in_progress = self.gauge("executions_in_progress", "Actions under way.")
        self.responses = self.counter(
            "responses", "What was answered, by its name in domain.yml.", "response"
        )
        self.lookups = self.counter(
            "directory_lookups", "Questions to the directory.", "lookup", "outcome"
        )
        self.lookup_seconds = self.histogram(
            "directory_seconds", "Time of a question to the directory.", PART_BUCKETS, "lookup"
        )
        self.refused = self.counter("refused", "Requests without the secret of the bot.")
        self.in_progress = {"execution": self.executions_in_progress}
        self.records = {
            "execution": self._execution,
            "directory": self._directory,
            "refusal": self._refusal,
        }

    def _execution(self, step: Step) -> None:
        self.executions.labels(step.target, step.error or "answered").inc()
        self.execution_seconds.labels(step.target).observe(step.seconds)
        responses = step.attributes.get("responses")
        for response in responses if isinstance(responses, list) else ():
            self.responses.labels(response).inc()

    def _directory(self, step: Step) -> None:
        outcome = "failed" if step.error else step.attributes.get("outcome", "found")
        self.lookups.labels(step.target, outcome).inc()
        self.lookup_seconds.labels(step.target).observe(step.seconds)

    def _refusal(self, step: Step) -> None:
        self.refused.inc()
