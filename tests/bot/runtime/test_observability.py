"""Spans, metrics and logs of both servers, as a collector, Prometheus and a log shipper get them.

Real processes with the trained model, and a receiver of OTLP on the loopback interface.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.text_format import MessageToString
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.parser import text_string_to_metric_families

from bot.processes import free_port
from tests.support import HOST
from tests.support.mobile_server import problem
from tests.support.production_servers import SECRET, SUBJECT, Servers

METRICS_TOKEN = "a token of Prometheus"
# What must be nowhere: of the directory in tests/actions/test_actions.py, and what the tests type.
PERSONAL = ("bulon", "Tartempion", "Inès", "Zeroual", "Zeruoal", "01 00 00", "ines@", "P3", SUBJECT)


class Receiver:
    """A collector of OTLP over HTTP that keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.text = ""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self.path, body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._lock = threading.Lock()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self.text += readable(body)
            for resource in request.resource_spans:
                named = {item.key: item.value.string_value for item in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self.spans += [(named["service.name"], span) for span in scope.spans]

    def trace(self, trace_id: str) -> list[tuple[str, Span]]:
        """Return the spans of a trace, each with the service that it comes from."""
        with self._lock:
            return [(name, s) for name, s in self.spans if s.trace_id.hex() == trace_id]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class ObservedServers(Servers):
    """Both servers with all of it switched on."""

    receiver: Receiver = field(default_factory=Receiver)
    metrics_port: int = field(default_factory=free_port)
    actions_metrics_port: int = field(default_factory=free_port)

    @property
    def environ(self) -> dict[str, str]:
        return {
            **super().environ,
            "MOBILE_REQUESTS_PER_MINUTE": "60",
            "METRICS_PORT": str(self.metrics_port),
            "ACTIONS_METRICS_PORT": str(self.actions_metrics_port),
            "METRICS_TOKEN": METRICS_TOKEN,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "LOG_FORMAT": "json",
        }

    def metrics(self, name: str) -> Metrics:
        port = {"bot": self.metrics_port, "actions": self.actions_metrics_port}[name]
        response = httpx.get(f"http://{HOST}:{port}/metrics", headers=bearer(METRICS_TOKEN))
        assert response.status_code == 200
        return Metrics(response.text)


class Metrics:
    """What was scraped."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.samples.get((f"skills_bot_{name}", *sorted(labels.items())), 0.0)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def servers(
    trained_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ObservedServers]:
    observed = ObservedServers(str(trained_model), tmp_path_factory.mktemp("observed"))
    try:
        with observed.running():
            yield observed
    finally:
        observed.receiver.close()


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def readable(body: bytes) -> str:
    """Return what an export says, without identifiers: in random bytes anything is found."""
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                for name in ("trace_id", "span_id", "parent_span_id", "links"):
                    span.ClearField(name)
    return MessageToString(request, as_utf8=True)


def attributes(span: Span) -> dict[str, Any]:
    """Return the attributes of a span as Python has them."""

    def plain(value: Any) -> Any:
        kind = value.WhichOneof("value")
        if kind == "array_value":
            return [plain(item) for item in value.array_value.values]
        return getattr(value, kind)

    return {item.key: plain(item.value) for item in span.attributes}


# --- spans ------------------------------------------------------------------------------------


def test_a_trace_goes_from_the_channel_to_the_directory(servers: ObservedServers) -> None:
    trace_id, parent = uuid.uuid4().hex, "00f067aa0ba902b7"
    turn = servers.user().say("Qui est Inès Zeroual ?", traceparent=f"00-{trace_id}-{parent}-01")
    assert turn["trace_id"] == trace_id
    assert turn["replies"][0]["card"]["person"]["name"] == "Inès Zeroual"

    def complete() -> dict[str, tuple[str, Span]] | None:
        found = {span.name: (service, span) for service, span in servers.receiver.trace(trace_id)}
        return (
            found
            if "request POST messages" in found and "execution action_who_is" in found
            else None
        )

    spans = wait_for(complete)
    names = {span.span_id: name for name, (_, span) in spans.items()}

    def path(name: str) -> list[str]:
        """The span and those around it, outermost first."""
        _, span = spans[name]
        around = names.get(span.parent_span_id)
        return [*(path(around) if around else []), name]

    assert spans["request POST messages"][1].parent_span_id.hex() == parent
    assert path("directory find_people") == [
        "request POST messages",
        "turn",
        "action action_who_is",
        "execution action_who_is",
        "directory find_people",
    ]
    classifier = "component CamembertIntentClassifier"
    assert path(classifier) == ["request POST messages", "turn", "nlu", classifier]
    assert path("component RulePolicy")[-2:] == ["policy", "component RulePolicy"]
    for stage in ("load", "nlu", "policy", "save"):
        assert path(stage)[-2:] == ["turn", stage]
    services = {name: service for name, (service, _) in spans.items()}
    assert services["turn"] == "skills-bot"
    assert services["execution action_who_is"] == "skills-bot-actions"
    kinds = {name: span.kind for name, (_, span) in spans.items()}
    assert kinds["request POST messages"] == kinds["execution action_who_is"]
    assert kinds["execution action_who_is"] == Span.SPAN_KIND_SERVER
    assert kinds["action action_who_is"] == Span.SPAN_KIND_CLIENT

    request = attributes(spans["request POST messages"][1])
    assert request["http.response.status_code"] == 200
    understood = attributes(spans["nlu"][1])
    assert understood["bot.intent"] == "WHO_IS"
    assert understood["bot.entities"] == ["ask", "person"]
    assert 0.6 < understood["bot.confidence"] <= 1
    assert attributes(spans["directory find_people"][1])["bot.outcome"] == "found"
    for name, (_, span) in spans.items():
        assert span.status.code == Status.STATUS_CODE_UNSET, name
        assert span.end_time_unix_nano >= span.start_time_unix_nano


def test_a_trace_begins_with_the_bot_where_the_client_has_none(servers: ObservedServers) -> None:
    response = servers.user().post({"type": "text", "text": "Bonjour, comment ça va ?"})
    trace_id = response.headers["trace-id"]
    assert response.json()["trace_id"] == trace_id
    spans = wait_for(lambda: servers.receiver.trace(trace_id))
    wait_for(
        lambda: "request POST messages" in {s.name for _, s in servers.receiver.trace(trace_id)}
    )
    (root,) = (s for _, s in servers.receiver.trace(trace_id) if not s.parent_span_id)
    assert root.name == "request POST messages"
    assert spans


# --- metrics ----------------------------------------------------------------------------------


def test_turns_are_counted(servers: ObservedServers) -> None:
    before = {name: servers.metrics(name) for name in ("bot", "actions")}
    user = servers.user()
    user.say("Qui est Inès Zeroual ?")
    user.say("quel temps fait-il demain ?")
    user.say("xyzzy plugh frotz")
    user.tap('/WHO_KNOWS_ABOUT{"technology": "Zébulon"}')
    user.tap('/Tartempion{"Zébulon": "x"}')
    after = {name: servers.metrics(name) for name in ("bot", "actions")}

    def more(server: str, name: str, **labels: str) -> float:
        return after[server].value(name, **labels) - before[server].value(name, **labels)

    assert more("bot", "turns_total", channel="mobile", outcome="answered") == 5
    assert more("bot", "turn_seconds_count") == 5
    assert after["bot"].value("turns_in_progress") == 0
    route = {"route": "messages", "method": "POST"}
    assert more("bot", "requests_total", status="200", **route) == 5
    assert more("bot", "request_seconds_count", route="messages") == 5
    assert more("bot", "intents_total", intent="WHO_IS", source="text") >= 1
    assert more("bot", "intents_total", intent="WHO_KNOWS_ABOUT", source="button") == 1
    assert more("bot", "confidence_count") == 3
    assert more("bot", "confidence_bucket", le="0.6") == more("bot", "fallbacks_total")
    for stage in ("load", "nlu", "policy", "action", "save", "lock"):
        assert more("bot", "stage_seconds_count", stage=stage) >= 5, stage
    component = "CamembertIntentClassifier"
    assert more("bot", "component_seconds_count", component=component) == 5
    assert after["bot"].value("model_loaded") == 1
    assert after["bot"].value("classifier_info", classifier=component, served="locally") == 1
    for action in ("action_who_is", "action_who_knows_about"):
        asked = more("bot", "actions_total", action=action)
        answered = {"action": action, "outcome": "answered"}
        assert more("actions", "executions_total", **answered) == asked >= 1
        assert more("actions", "execution_seconds_count", action=action) == asked

    lookups = {"lookup": "find_people", "outcome": "found"}
    assert more("actions", "directory_lookups_total", **lookups) == 1
    lookups = {"lookup": "find", "outcome": "nothing"}
    # And again without each constraint, for what to offer.
    assert more("actions", "directory_lookups_total", **lookups) >= 1
    assert more("actions", "responses_total", response="utter_person_card") == 1
    assert after["actions"].value("executions_in_progress") == 0


def test_refused_requests_are_counted(servers: ObservedServers) -> None:
    before = servers.metrics("bot")
    user = servers.user()
    message = {"type": "postback", "payload": "/HOW_ARE_YOU"}
    statuses = [user.post(message).status_code for _ in range(12)]
    labels = {"route": "messages", "method": "POST", "status": "429"}
    limited = servers.metrics("bot").value("requests_total", **labels)
    assert limited - before.value("requests_total", **labels) == statuses.count(429) > 0
    httpx.post(f"http://{HOST}:{servers.actions_port}/webhook", json={})
    assert servers.metrics("actions").value("refused_total") == 1


@pytest.mark.parametrize("name", ["bot", "actions"])
def test_metrics_are_for_prometheus_alone(servers: ObservedServers, name: str) -> None:
    port = {"bot": servers.metrics_port, "actions": servers.actions_metrics_port}[name]
    url = f"http://{HOST}:{port}/metrics"
    for headers in ({}, bearer("wrong"), bearer(SECRET), {"Authorization": METRICS_TOKEN}):
        assert httpx.get(url, headers=headers).status_code == 401
    assert httpx.get(f"http://{HOST}:{port}/", headers=bearer(METRICS_TOKEN)).status_code == 404
    public = {"bot": servers.port, "actions": servers.actions_port}[name]
    response = httpx.get(f"http://{HOST}:{public}/metrics", headers=bearer(METRICS_TOKEN))
    assert response.status_code in (401, 404)


# --- probes -----------------------------------------------------------------------------------


def test_the_action_server_is_alive_without_its_directory_but_not_ready(
    servers: ObservedServers,
) -> None:
    base = f"http://{HOST}:{servers.actions_port}"
    ready = httpx.get(f"{base}/ready")
    assert (ready.status_code, ready.json()["checks"]) == (
        200,
        {"directory": "ok", "audit_log": "ok"},
    )


# --- when something fails ---------------------------------------------------------------------

# Last in this file: it breaks what the other tests need.


def test_failures_are_seen_and_nobody_is_named(servers: ObservedServers) -> None:
    trace_id = uuid.uuid4().hex
    user = servers.user(SUBJECT, scope="directory:phone")
    for text in (
        "/Zébulon",
        '/WHO_IS{"person": "Zébulon Tartempion"',
        "Qui est Zébulon Tartempion ?",
    ):
        user.say(text)

    # Without a directory.
    for path in servers.folder.glob("directory.db*"):
        path.write_bytes(b"no database " * 1000)
    user.say("Qui est Inès Zeroual ?")
    base = f"http://{HOST}:{servers.actions_port}"
    assert httpx.get(f"{base}/health").status_code == 200
    assert httpx.get(f"{base}/ready").status_code == 503
    actions = servers.metrics("actions")
    labels = {"action": "action_who_is", "outcome": "directory"}
    assert actions.value("executions_total", **labels) >= 1
    # Of what a text names; nothing was asked after it.
    assert actions.value("directory_lookups_total", lookup="spot", outcome="failed") >= 1

    # Without an action server.
    servers.stop("actions")
    user.say("Qui est Inès Zeroual ?", traceparent=f"00-{trace_id}-{'1' * 16}-01")
    assert httpx.get(f"{servers.url}/health").status_code == 200
    problem(httpx.get(f"{servers.url}/ready"), 503, "unavailable")
    bot = servers.metrics("bot")
    labels = {"action": "action_who_is", "error": "ClientConnectorError"}
    assert bot.value("action_errors_total", **labels) == 1

    def failed() -> list[Span]:
        spans = servers.receiver.trace(trace_id)
        return [span for _, span in spans if span.status.code == Status.STATUS_CODE_ERROR]

    (span,) = wait_for(failed)
    assert span.name == "action action_who_is"
    assert attributes(span)["error.type"] == "ClientConnectorError"
    bot_metrics = bot.text

    servers.stop("bot")
    logs = {name: servers.log(name).read_text() for name in ("bot", "actions")}
    for name, log in logs.items():
        lines = [json.loads(line) for line in log.splitlines()]
        assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, lines)), name
    (line,) = (
        entry
        for entry in map(json.loads, logs["bot"].splitlines())
        if entry.get("trace_id") == trace_id and "Encountered an exception" in entry["message"]
    )
    assert line["level"] == "error"
    assert "RasaException" in line["error"]
    for what, text in {
        **logs,
        "spans": servers.receiver.text,
        "metrics of the bot": bot_metrics,
        "metrics of the action server": actions.text,
    }.items():
        for trace in PERSONAL:
            assert trace not in text, (what, trace)
