"""What is shipped for Prometheus and Grafana names only what the servers really have."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

import httpx
import pytest
import yaml

from actions.metrics import ActionMetrics
from bot.runtime.metrics import BotMetrics, LoadedModel
from common.errors import UserError
from common.metrics_server import Address, Endpoint
from common.observability import ACTIONS, BOT, Observability
from components.remote import Fault, Ranking, RemoteClassifier, RemoteError, RemoteSettings
from tests.support import ROOT

FOLDER = ROOT / "infra" / "observability"
PAGE = FOLDER.parent.parent / "docs" / "observability.md"
# Of Prometheus itself, and the labels that it adds.
THEIRS = {"up": {"job", "instance"}}
ADDED = {"job", "instance"}

SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "info": ("_info",),
    "gauge": ("",),
}


def remote() -> RemoteClassifier:
    """A classifier that was asked twice: one answer, which it remembers, and one failure."""

    def ask(texts: Sequence[str]) -> list[Ranking]:
        if texts[0] == "broken":
            raise RemoteError("no", Fault.PERMANENT, "AccessDenied")
        return [[("WHO_IS", 1.0)] for _ in texts]

    classifier = RemoteClassifier("It", ask, ["WHO_IS"], RemoteSettings())
    for text in ("a", "a", "broken"):
        classifier.rank([text])
    return classifier


@pytest.fixture(scope="module")
def metrics() -> tuple[BotMetrics, ActionMetrics]:
    model = LoadedModel([("ComprehendIntentClassifier", remote())])
    return BotMetrics(lambda: model), ActionMetrics()


@pytest.fixture(scope="module")
def known(metrics: tuple[BotMetrics, ActionMetrics]) -> dict[str, set[str]]:
    """Name → labels of every series of both servers."""
    found: dict[str, set[str]] = {}
    for server in metrics:
        for family in server.registry.collect():
            labels = {label for sample in family.samples for label in sample.labels}
            names = {family.name + suffix for suffix in SUFFIXES[family.type]}
            # Where nothing was counted yet, the samples do not tell the labels.
            counter = server.registry._names_to_collectors.get(family.name)
            labels |= set(getattr(counter, "_labelnames", ()))
            for name in names:
                found[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return found | THEIRS


def expressions() -> Iterator[tuple[str, str]]:
    """Give (where, PromQL) of every alert and panel."""
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(
    ("where", "expression"), [pytest.param(*pair, id=pair[0]) for pair in expressions()]
)
def test_metrics_and_labels_exist(known: dict[str, set[str]], where: str, expression: str) -> None:
    named = re.findall(r"\b(up|(?:skills_bot|process|python)_\w+)(?:\{([^}]*)\})?", expression)
    assert named, where
    for name, selector in named:
        assert name in known, (where, name)
        assert set(re.findall(r"(\w+)=", selector)) <= known[name] | ADDED, (where, name)
    grouped = {
        label
        for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
        for label in labels.split(", ")
    }
    assert grouped <= set.union(*(known[name] for name, _ in named)) | ADDED, where


def test_every_metric_is_in_the_manual_and_drawn(known: dict[str, set[str]]) -> None:
    ours = {name.removeprefix("skills_bot_") for name in known if name.startswith("skills_bot_")}
    base = {re.sub(r"_(bucket|count|sum)$", "", name) for name in ours}
    page, drawn = PAGE.read_text(), " ".join(expression for _, expression in expressions())
    for name in base:
        assert f"`{name}`" in page, name
        assert f"skills_bot_{name}" in drawn, name


def test_a_remote_classifier_is_told_of(metrics: tuple[BotMetrics, ActionMetrics]) -> None:
    registry, classifier = metrics[0].registry, {"classifier": "ComprehendIntentClassifier"}

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"skills_bot_{name}", {**classifier, **labels})

    assert value("classifier_info", served="remotely") == 1
    for outcome in ("answered", "cached", "unanswered"):
        assert value("remote_texts_total", outcome=outcome) == 1
    assert value("remote_requests_total") == 2
    assert value("remote_failures_total", code="AccessDenied") == 1
    assert value("remote_breaker_opened_total") == 1
    states = {state: value("remote_breaker", state=state) for state in ("open", "closed")}
    assert states == {"open": 1, "closed": 0}


@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts.test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
)
def test_prometheus_takes_them(command: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian's package prometheus) is not installed")
    done = subprocess.run([promtool, *command], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# --- what is switched on ----------------------------------------------------------------------


def test_nothing_is_on_by_itself() -> None:
    for service in (BOT, ACTIONS):
        assert not Observability.of(service, {}).any
        off = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}
        assert not Observability.of(service, off).any


def test_each_server_has_its_port() -> None:
    environ = {"METRICS_PORT": "9105", "ACTIONS_METRICS_PORT": "9155", "SANIC_WORKERS": "4"}
    bot, actions = (Observability.of(service, environ).metrics for service in (BOT, ACTIONS))
    assert bot is not None
    assert (bot.host, bot.port, bot.processes) == ("127.0.0.1", 9105, 4)
    assert actions is not None
    assert actions.port == 9155


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"METRICS_PORT": "9105", "METRICS_HOST": "0.0.0.0"}, "set METRICS_TOKEN"),
        ({"METRICS_PORT": "9105", "METRICS_TOKEN": "short"}, "16 characters"),
        ({"METRICS_PORT": "metrics"}, "must be a port"),
        ({"METRICS_PORT": "65535", "SANIC_WORKERS": "2"}, "must be a port"),
        ({"LOG_FORMAT": "xml"}, "json or human"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            },
            "4318",
        ),
    ],
)
def test_wrong_settings_say_what_to_do(environ: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Observability.of(BOT, environ)


# --- logs -------------------------------------------------------------------------------------

LOGGING = """
import logging, warnings
import structlog
from rasa.utils.log_utils import configure_structlog
from common import logs, tracing

configure_structlog(logging.INFO)
logs.install()
logs.structured()
with tracing.serve("turn", traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"):
    logging.getLogger("a").warning("%d of %s", 1, "two")
    structlog.get_logger().info("a.key", event_info="What it means.", text="Zébulon", message="x")
silent = logging.getLogger("b")
silent.propagate = False
silent.error("Passed on by nobody.")
warnings.warn("deprecated")
try:
    int("Zébulon")
except ValueError:
    logging.getLogger("c").exception("It failed.")
    structlog.get_logger().exception("another.key")
"""


def test_every_line_is_json_without_what_users_say() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always::UserWarning", "-c", LOGGING],
        cwd=FOLDER.parent.parent,
        env={**os.environ, "PYTHONPATH": str(FOLDER.parent.parent)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""
    assert "Zébulon" not in done.stderr
    plain, rasas, silent, warning, failed, rasas_failed = map(json.loads, done.stderr.splitlines())
    assert (plain["level"], plain["logger"], plain["message"]) == ("warning", "a", "1 of two")
    assert plain["trace_id"] == rasas["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (rasas["event"], rasas["message"]) == ("a.key", "What it means.")
    assert (silent["message"], "trace_id" in silent) == ("Passed on by nobody.", False)
    assert "deprecated" in warning["message"]
    assert failed["error"].startswith("ValueError\n")
    assert (rasas_failed["message"], rasas_failed["level"]) == ("another.key", "error")
    assert rasas_failed["error"].startswith("ValueError\n")


# --- ports ------------------------------------------------------------------------------------


def free_neighbours() -> int:
    """Return the first of two free ports that follow each other."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def test_each_process_gets_a_port(metrics: tuple[BotMetrics, ActionMetrics]) -> None:
    """As the workers of Sanic do, which share an environment."""
    port = free_neighbours()
    address = Address("127.0.0.1", port, processes=2)
    first, second = (Endpoint(address, server.registry) for server in metrics)
    try:
        assert (first.port, second.port) == (port, port + 1)
        with pytest.raises(OSError, match="in use"):
            Endpoint(address, metrics[0].registry)
        for endpoint, name in ((first, "turns"), (second, "executions")):
            answer = httpx.get(f"http://127.0.0.1:{endpoint.port}/metrics")
            assert f"skills_bot_{name}_in_progress 0.0" in answer.text
    finally:
        first.close()
        second.close()


def test_opentelemetry_is_not_imported_when_off() -> None:
    """Nor the Prometheus client."""
    program = (
        "import sys, actions.server, bot.channels.idempotency, bot.runtime.rasa_cli\n"
        "from common.observability import ACTIONS, BOT, Observability\n"
        "assert not any(Observability.of(service, {}).any for service in (BOT, ACTIONS))\n"
        "print([name for name in sys.modules if name.split('.')[0] in"
        " ('opentelemetry', 'prometheus_client')])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=FOLDER.parent.parent,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
