"""What it costs to be observed: a turn with spans and metrics, beside one without.

    python -m benchmarks.observability [--turns 200] [--out FILE]

One action server and one bot for each way, all of them the real processes with the trained model;
spans go to a receiver that throws them away. The same messages go to each bot in turns, in a
random order, so that whatever else the machine does falls on all of them alike. Reported are the
time of a turn as the client sees it (p50, p95), and the processor time of the bot for it, each also
as a ratio to the bot that nobody observes. The action servers are observed as their bots are.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil

from actions.directory import ensure_sample
from bot import processes, rasa_model, server
from bot.processes import HOST, Child
from bot.server import SAMPLE, Addresses

MESSAGES = (
    "Qui est Maëlys Kerguelen ?",
    "ki s'y connait en k8s a nantes",
    "Bonjour, comment ça va ?",
    "et à Rennes ?",
    "quel temps fait-il demain ?",
)
WARM_UP = 10
OFF = "off"


class _Collector(BaseHTTPRequestHandler):
    """Takes spans and forgets them."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def ways(collector: str) -> dict[str, dict[str, str]]:
    """Return the environment of each way to be observed."""
    metrics = {"METRICS_PORT": str(processes.free_port())}
    metrics["ACTIONS_METRICS_PORT"] = str(processes.free_port())
    spans = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
    logs = {"LOG_FORMAT": "json"}
    both = {"METRICS_PORT": str(processes.free_port())}
    both["ACTIONS_METRICS_PORT"] = str(processes.free_port())
    return {OFF: {}, "metrics": metrics, "spans": spans, "all": {**both, **spans, **logs}}


@dataclass
class Observed:
    """A bot with its action server, and what was measured of it."""

    children: list[Child]
    port: int
    milliseconds: list[float] = field(default_factory=list)
    busy: float = 0.0

    def processor_seconds(self) -> float:
        """Return the processor time of the bot so far."""
        times = psutil.Process(self.children[1].process.pid).cpu_times()
        return float(times.user + times.system)

    def turn(self, client: httpx.Client, message: str) -> None:
        """Send a message and note how long the answer took."""
        body = {"sender": uuid.uuid4().hex, "message": message}
        begin = time.perf_counter()
        answer = client.post(f"http://{HOST}:{self.port}/webhooks/rest/webhook", json=body)
        self.milliseconds.append((time.perf_counter() - begin) * 1000)
        assert answer.status_code == 200
        assert answer.json(), message


def start(environ: dict[str, str], model: Path) -> Observed:
    """Start a bot and its action server."""
    ports = processes.free_port(), processes.free_port()
    token = uuid.uuid4().hex
    os.environ.update(environ)
    try:
        at = Addresses(HOST, *ports, actions_secret=token)
        children = [server.start_action_server(at), server.start_bot(at, model, token)]
    finally:
        for name in environ:
            del os.environ[name]
    health, status = f"http://{HOST}:{ports[1]}/health", f"http://{HOST}:{ports[0]}/status"
    processes.wait_until_ready(children, [health, f"{status}?token={token}"], seconds=600)
    return Observed(children, ports[0])


def measure(turns: int) -> dict[str, Any]:
    """Return the figures of every way."""
    model = rasa_model.ensure_model()
    collector = ThreadingHTTPServer((HOST, 0), _Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{folder / 'directory.db'}"
        os.environ |= {"DIRECTORY_URL": url, "AUDIT_LOG": str(folder / "audit")}
        ensure_sample(url, SAMPLE)
        client = stack.enter_context(httpx.Client(timeout=60))
        bots: dict[str, Observed] = {}
        for way, environ in ways(f"http://{HOST}:{collector.server_port}").items():
            bots[way] = start(environ, model)
            stack.callback(processes.stop, bots[way].children)
        order = random.Random(0)
        for number in range(WARM_UP + turns):
            if number == WARM_UP:
                for bot in bots.values():
                    bot.milliseconds.clear()
                    bot.busy = bot.processor_seconds()
            for way in order.sample(list(bots), len(bots)):
                bots[way].turn(client, MESSAGES[number % len(MESSAGES)])
        figures: dict[str, dict[str, float]] = {
            way: {
                "p50_ms": statistics.median(bot.milliseconds),
                "p95_ms": statistics.quantiles(bot.milliseconds, n=20)[-1],
                "processor_ms": (bot.processor_seconds() - bot.busy) * 1000 / turns,
            }
            for way, bot in bots.items()
        }
    collector.shutdown()
    return {"turns": turns, "load": os.getloadavg()[0], "ways": figures}


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    off = result["ways"][OFF]
    lines = [
        f"{result['turns']} turns each; load of the machine {result['load']:.1f}",
        "",
        "| observed | p50 | p95 | processor time of the bot for a turn |",
        "|---|---|---|---|",
    ]
    for way, figures in result["ways"].items():
        cells = (f"{value:.1f} ms ({value / off[key]:.2f})" for key, value in figures.items())
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--out", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    result = measure(arguments.turns)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
