"""How the speed of a candidate is measured; no assertion depends on how fast this machine is."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from comparison import candidates, latency, results
from comparison.settings import Spec
from comparison.splits import Labelled
from comparison.worker import Worker, WorkerError

COUNTED = Spec(
    name="One",
    pipeline=[
        {"name": "WhitespaceTokenizer"},
        {"name": "CountVectorsFeaturizer"},
        {"name": "LogisticRegressionClassifier"},
    ],
).copy(update={"key": "one"})


def test_latency_counts_every_question_and_those_without_answer() -> None:
    asked: list[str] = []

    def ask(text: str) -> bool:
        asked.append(text)
        return text != "b"

    found = latency.ask_in_turn(ask, itertools.cycle("abc"), 6, pause=0)
    assert asked == list("abcabc")
    assert (found.count, found.unanswered) == (6, 2)
    assert 0 < found.p50 <= found.p95 <= found.p99
    assert found.mean > 0
    assert found.sd >= 0


def test_pauses_are_between_questions_and_not_in_the_latency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = 0.0
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds
        pauses.append(seconds)

    def ask(text: str) -> bool:
        nonlocal clock
        clock += 0.25
        return True

    monkeypatch.setattr(latency.time, "sleep", sleep)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock)
    found = latency.ask_in_turn(ask, itertools.cycle("a"), 40, pause=1)
    assert pauses == [1] * 39
    assert (found.mean, found.sd, found.p50, found.p99) == (0.25, 0, 0.25, 0.25)


def test_clients_wait_in_line_as_before_rasas_server(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0

    def ask(text: str) -> bool:
        nonlocal clock
        clock += 0.5
        return text != "b"

    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock)
    found = latency.ask_at_once(ask, itertools.cycle("ab"), clients=4, seconds=10)
    assert found.clients == 4
    # Each question waits for those of the three other clients.
    assert found.latency.p50 == 2.0
    assert found.latency.count * 0.5 == found.seconds
    # About half of them have no answer, and only answers count.
    answered = found.latency.count - found.latency.unanswered
    assert found.throughput == answered / found.seconds
    assert found.latency.unanswered == found.latency.count // 2


def test_a_single_client_asks_at_least_once() -> None:
    found = latency.ask_at_once(lambda text: True, itertools.cycle("a"), clients=1, seconds=0)
    assert found.latency.count == 1


def test_resident_memory_is_that_of_this_process() -> None:
    # In a process of its own: in this one, memory that was freed may be used again.
    code = (
        "from comparison import latency; before = latency.resident_bytes(); "
        "block = b'x' * 200_000_000; print(latency.resident_bytes() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 100_000_000 < int(done.stdout) < 300_000_000


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    worker = Worker(folder / "fit.log", {})  # Rasa without TensorFlow, unlike this process
    try:
        worker.call(candidates.prepare, COUNTED)
        examples = Labelled(["a b", "c d", "a d"], ["x", "y", "x"])
        worker.call(candidates.fit, COUNTED, examples, 0, folder)
    finally:
        worker.close()
    return folder


def plan(folder: Path) -> latency.Plan:
    return latency.Plan(COUNTED, folder, ["a", "c"], 1, [1, 3], 0.1, 0.001)


def measured(asked: latency.Plan, log: Path) -> results.Speed:
    worker = Worker(log, {})
    try:
        return worker.call(latency.measure, asked, worker.started)["speed"]
    finally:
        worker.close()


def test_a_candidate_is_measured_in_a_process_of_its_own(trained: Path, tmp_path: Path) -> None:
    found = measured(plan(trained), tmp_path / "logs" / "one.log")
    assert (found.spaced.count, found.back_to_back.count) == (40, 10)
    assert [load.clients for load in found.load] == [1, 3]
    assert found.spaced.unanswered == 0
    cold = found.cold_start
    assert cold.total == pytest.approx(cold.imports + cold.loading + cold.first_answer)
    assert min(cold.imports, cold.loading, cold.first_answer) > 0
    assert found.resident_bytes > 10_000_000


def test_a_candidate_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    broken = plan(tmp_path / "nothing")
    with pytest.raises(WorkerError) as caught:
        measured(broken, tmp_path / "one.log")
    assert caught.value.error
    assert "Traceback" in caught.value.traceback


# --- the worker -------------------------------------------------------------------------------


def double(number: int) -> int:
    print("doubling", file=sys.stderr)
    return 2 * number


def variables() -> tuple[str | None, str | None]:
    import os

    return os.environ.get("COMPARED"), os.environ.get("HOME")


def fail() -> None:
    raise ValueError("no such luck")


def die() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_answers_call_after_call_and_survives_errors(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "logs" / "one.log", {"COMPARED": "yes", "HOME": None})
    try:
        assert worker.call(double, 21) == 42
        with pytest.raises(WorkerError) as caught:
            worker.call(fail)
        assert caught.value.error == "ValueError: no such luck"
        assert "in fail" in caught.value.traceback
        assert worker.is_alive
        assert worker.call(variables) == ("yes", None)
    finally:
        worker.close()
    assert not worker.is_alive
    assert "doubling" in (tmp_path / "logs" / "one.log").read_text()


def wait_in_scratch(marker: str) -> None:
    with tempfile.TemporaryDirectory(dir=Path(marker).parent):
        Path(marker).touch()
        time.sleep(600)


def test_a_worker_that_is_ended_removes_its_temporary_files(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "logs" / "one.log", {})
    marker = tmp_path / "busy"

    def call() -> None:
        with contextlib.suppress(WorkerError):
            worker.call(wait_in_scratch, str(marker))

    caller = threading.Thread(target=call)
    caller.start()
    while not marker.exists():
        time.sleep(0.01)
    worker.close()
    caller.join()
    assert {path.name for path in tmp_path.iterdir()} == {"busy", "logs"}


def test_a_worker_that_dies_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "one.log", {})
    with pytest.raises(WorkerError, match="signal 9"):
        worker.call(die)
    assert not worker.is_alive
    worker.close()
