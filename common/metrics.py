"""Steps as Prometheus metrics; docs/observability.md tells what each is for.

No label holds anything that a user or a client can choose. Imported only where metrics are served.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from common.tracing import Step

PREFIX = "skills_bot"
# Seconds: the parts of a turn take some 1 ms.
PART_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 2, 5, 10)


class Metrics:
    """What both servers have: a registry, and a way from a step to its metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.in_progress: dict[str, Gauge] = {}
        self.records: dict[str, Callable[[Step], None]] = {}

    def begin(self, step: Step) -> None:
        """Count a step as in progress."""
        if (gauge := self.in_progress.get(step.name)) is not None:
            gauge.inc()

    def end(self, step: Step) -> None:
        """Count what came of a step."""
        if (gauge := self.in_progress.get(step.name)) is not None:
            gauge.dec()
        if (record := self.records.get(step.name)) is not None:
            record(step)

    def close(self) -> None:
        """There is nothing to be sent."""

    def counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", documentation, labels, registry=self.registry)

    def gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", documentation, registry=self.registry)

    def histogram(
        self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            f"{PREFIX}_{name}", documentation, labels, buckets=buckets, registry=self.registry
        )
