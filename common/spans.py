"""Steps as OpenTelemetry spans, sent by OTLP over HTTP.

The exporter is configured as everywhere, by ``OTEL_EXPORTER_OTLP_ENDPOINT`` and its like:
https://opentelemetry.io/docs/specs/otel/protocol/exporter/. Imported only where that is set.
"""

from __future__ import annotations

import os
import socket

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode

from common.trace_context import Trace
from common.tracing import Step

_KINDS = {"request": SpanKind.SERVER, "execution": SpanKind.SERVER, "action": SpanKind.CLIENT}
# Attributes that have a name in OpenTelemetry's conventions.
_CONVENTIONS = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
}
_NAMESPACE = "bot."
_SPAN = "span"
_ATTACHED = "attached"


class Spans:
    """Makes a span of every step.

    Args:
        service: name of the process, unless ``OTEL_SERVICE_NAME`` gives another one.
        exporter: for tests; OTLP over HTTP unless given.
    """

    def __init__(self, service: str, exporter: SpanExporter | None = None) -> None:
        defaults = {
            "service.name": service,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
        resource = Resource.create(defaults).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("bot")

    def begin(self, step: Step) -> None:
        """Start a span, within the step around it or its caller's."""
        around = context.get_current()
        if step.parent is not None and not trace.get_current_span().get_span_context().is_valid:
            around = trace.set_span_in_context(NonRecordingSpan(_remote(step.parent)))
        kind = _KINDS.get(step.name, SpanKind.INTERNAL)
        span = self._tracer.start_span(step.title, context=around, kind=kind)
        own = span.get_span_context()
        step.trace = Trace(
            trace.format_trace_id(own.trace_id),
            trace.format_span_id(own.span_id),
            f"{own.trace_flags:02x}",
        )
        step.observed[_SPAN] = span
        step.observed[_ATTACHED] = context.attach(trace.set_span_in_context(span))

    def end(self, step: Step) -> None:
        """End the span of ``step``."""
        span = step.observed[_SPAN]
        context.detach(step.observed[_ATTACHED])
        for key, value in step.attributes.items():
            span.set_attribute(_CONVENTIONS.get(key, _NAMESPACE + key), value)
        if step.error is not None:
            span.set_attribute("error.type", step.error)
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _remote(parent: Trace) -> SpanContext:
    return SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(parent.flags, 16)),
    )
