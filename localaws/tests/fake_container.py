"""A tiny container that honours SageMaker's contract: ``python fake_container.py train|serve``.

The model that it trains is the list of the lines of its training data. Hyperparameters and
environment variables say what shall go wrong.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])


def train() -> None:
    config = BASE / "input" / "config"
    hyperparameters = json.loads((config / "hyperparameters.json").read_text())
    channels = json.loads((config / "inputdataconfig.json").read_text())
    assert json.loads((config / "resourceconfig.json").read_text())["hosts"] == ["algo-1"]
    print(f"training {os.environ['TRAINING_JOB_NAME']} with {hyperparameters}")
    files = {
        f"{channel}/{path.relative_to(BASE / 'input' / 'data' / channel)}": path.read_text()
        for channel in channels
        for path in sorted((BASE / "input" / "data" / channel).rglob("*"))
        if path.is_file()
    }
    if hyperparameters.get("fail"):
        (BASE / "output" / "failure").write_text(hyperparameters["fail"])
        sys.exit(1)
    while hyperparameters.get("endless"):
        time.sleep(0.01)
    if hyperparameters.get("leave_behind"):  # a process that holds the output open
        child = subprocess.Popen(["sleep", "600"])
        print(f"left {child.pid}")
    if hyperparameters.get("remove_model"):
        shutil.rmtree(BASE / "model")
        return
    (BASE / "model" / "model.json").write_text(json.dumps(files))
    (BASE / "output" / "data" / "metrics.json").write_text('{"accuracy": 0.9}')
    print("accuracy=0.5\naccuracy=0.9")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        sick = "SICK" in os.environ
        self.answer((503 if sick else 200) if self.path == "/ping" else 404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers["Content-Type"] != "application/json":
            self.answer(415, {"error": "send JSON"})
            return
        request = json.loads(body)
        if request.get("crash"):
            os._exit(1)
        if "until" in request:  # say that it has begun, and wait for the file to go away
            Path(request["until"]).touch()
            while Path(request["until"]).exists():
                time.sleep(0.01)
        model = json.loads((BASE / "model" / "model.json").read_text())
        self.answer(
            request.get("status", 200),
            {
                "model": model,
                "name": os.environ.get("NAME"),
                "pid": os.getpid(),
                "accept": self.headers["Accept"],
                "echo": request,
            },
        )

    def answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Amzn-SageMaker-Custom-Attributes", "fake")
        self.end_headers()
        self.wfile.write(body)


def serve() -> None:
    if os.environ.get("UNHEALTHY"):
        print("no model for me")
        sys.exit(1)
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    {"train": train, "serve": serve}[sys.argv[1]]()
