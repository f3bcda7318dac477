"""What `bot run` is made of, with real processes and real ports."""

from __future__ import annotations

import functools
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from bot import processes, rasa_model, server
from bot.runtime import rasa_cli
from common.errors import UserError

IGNORES_SIGTERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
FORKS_AND_WAITS = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(child.pid, flush=True); time.sleep(600)"
)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def exists(pid: int) -> bool:
    """Whether a process runs; one that ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def start_python(tmp_path: Path) -> Iterator[Callable[[str], processes.Child]]:
    children: list[processes.Child] = []

    def start(code: str) -> processes.Child:
        log = tmp_path / f"{len(children)}.log"
        children.append(processes.start("helper", ["-c", code], log=log))
        return children[-1]

    yield start
    processes.stop(children, seconds=0)


@pytest.fixture
def http_server(tmp_path: Path) -> Iterator[str]:
    """Serve an empty folder: 200 for ``/``, 404 for everything else; 409 for ``/conflict``."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/conflict":
                self.send_error(409)
            else:
                super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer((processes.HOST, 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://{processes.HOST}:{served.server_address[1]}"
        served.shutdown()
        thread.join()


# --- processes --------------------------------------------------------------------------------


def test_stop_ends_the_whole_group(start_python: Callable[[str], processes.Child]) -> None:
    child = start_python(FORKS_AND_WAITS)
    wait_for(lambda: child.tail().strip())
    grandchild = int(child.tail())
    assert exists(grandchild)
    processes.stop([child])
    assert child.process.poll() == -signal.SIGTERM
    wait_for(lambda: not exists(grandchild))


def test_stop_kills_what_does_not_listen(start_python: Callable[[str], processes.Child]) -> None:
    child = start_python(f"{IGNORES_SIGTERM}; print('up', flush=True); time.sleep(600)")
    wait_for(lambda: "up" in child.tail())
    processes.stop([child], seconds=0.5)
    assert child.process.poll() == -signal.SIGKILL


def test_stop_of_what_has_ended_already(start_python: Callable[[str], processes.Child]) -> None:
    child = start_python("pass")
    child.process.wait()
    processes.stop([child])
    assert child.process.poll() == 0


def test_the_end_of_a_child_is_told_with_its_log(
    start_python: Callable[[str], processes.Child],
) -> None:
    child = start_python("import sys; print('é' * 3); sys.exit('no such flag')")
    child.process.wait()
    with pytest.raises(UserError) as caught:
        processes.require_alive([child])
    assert "The helper has ended (exit status 1)" in str(caught.value)
    assert "no such flag" in str(caught.value)
    assert "ééé" in str(caught.value)


def test_a_log_is_private_and_may_be_rotated(
    tmp_path: Path, start_python: Callable[[str], processes.Child]
) -> None:
    (tmp_path / "0.log").write_text("of the last time")
    child = start_python(
        "import os, time; print('one', flush=True)\n"
        f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.05)\n"
        "print('two', flush=True); time.sleep(600)"
    )
    wait_for(lambda: "one" in child.tail())
    assert child.log.read_text() == "one\n"
    assert child.log.stat().st_mode & 0o777 == 0o600
    os.truncate(child.log, 0)  # as logrotate's `copytruncate`
    (tmp_path / "go").touch()
    wait_for(lambda: "two" in child.tail())
    assert child.log.read_text() == "two\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_interrupt_and_handlers_come_back(number: signal.Signals) -> None:
    def receive() -> None:
        with processes.stopping_on_signals():
            os.kill(os.getpid(), number)
            time.sleep(60)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        receive()
    assert signal.getsignal(number) == before


# --- ports and readiness ----------------------------------------------------------------------


def test_a_taken_port_is_named_with_the_option() -> None:
    with socket.socket() as taken:
        taken.bind((processes.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"Port {port} .* PORT=…"):
            processes.require_free_ports({"PORT=…": port})
    processes.require_free_ports({"PORT=…": port})
    with pytest.raises(UserError, match="two different ports"):
        processes.require_free_ports({"a": port, "b": port})


def test_bot_run_refuses_a_taken_port_at_once() -> None:
    with socket.socket() as taken:
        taken.bind((processes.HOST, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "bot", "run", "--actions-port", port]
        done = subprocess.run(command, cwd=server.PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"Port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_readiness(http_server: str, start_python: Callable[[str], processes.Child]) -> None:
    child = start_python("import time; time.sleep(600)")
    processes.wait_until_ready([child], [http_server, f"{http_server}/"])
    with pytest.raises(UserError, match=r"Not ready after 0 s"):
        processes.wait_until_ready([child], [f"{http_server}/missing"], seconds=0)
    with pytest.raises(UserError, match="could not load its model"):
        processes.wait_until_ready([child], [f"{http_server}/conflict"])


ANSWERS = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler
    ).serve_forever()
"""


def test_a_child_that_answers_nobody_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, it still takes connections, as one that spins does."""
    monkeypatch.setattr(processes, "PROBE_SECONDS", 0.3)
    with socket.socket() as probe:
        probe.bind((processes.HOST, 0))
        port = str(probe.getsockname()[1])
    log = tmp_path / "log"
    start = functools.partial(processes.start, "helper", ["-c", ANSWERS, port], log=log)
    first, url = start(), f"http://{processes.HOST}:{port}/"
    said: list[str] = []
    children = [first]
    processes.wait_until_ready(children, [url])

    def again() -> processes.Child:
        if len(said) > 1:
            raise KeyboardInterrupt
        return start()

    def stop_what_runs() -> None:
        os.kill(first.process.pid, signal.SIGSTOP)
        wait_for(lambda: children[0] is not first)
        processes.wait_until_ready(children, [url])
        os.kill(children[0].process.pid, signal.SIGSTOP)

    thread = threading.Thread(target=stop_what_runs)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            processes.keep_answering(children, [url], [again], said.append, tries=2)
    finally:
        thread.join()
        processes.stop([first, *children], seconds=0)
    assert said == ["The helper answers nobody, and is started again."] * 2
    assert first.process.poll() == -signal.SIGKILL


def test_readiness_ends_with_a_child(
    http_server: str, start_python: Callable[[str], processes.Child]
) -> None:
    child = start_python("import sys; sys.exit(3)")
    with pytest.raises(UserError, match=r"has ended \(exit status 3\)"):
        processes.wait_until_ready([child], [f"{http_server}/missing"])


# --- the model --------------------------------------------------------------------------------


def test_the_fingerprint_covers_what_a_model_is_made_from(tmp_path: Path) -> None:
    for name in (
        "config.yml",
        "data/nlu.yml",
        "components/camembert/training.py",
        "common/text.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a")
    seen = {rasa_model.model_fingerprint(tmp_path)}
    assert seen == {rasa_model.model_fingerprint(tmp_path)}
    for name in (
        "data/nlu.yml",
        "components/camembert/training.py",
        "common/text.py",
        "config.yml",
    ):
        (tmp_path / name).write_text("b")
        seen.add(rasa_model.model_fingerprint(tmp_path))
    (tmp_path / "data/topics").mkdir()
    (tmp_path / "data/topics/more.yml").write_text("b")
    seen.add(rasa_model.model_fingerprint(tmp_path))
    assert len(seen) == 6
    (tmp_path / "data/directory.csv").write_text("id")
    assert rasa_model.model_fingerprint(tmp_path) in seen
    (tmp_path / "config.other.yml").write_text("c")
    assert rasa_model.model_fingerprint(tmp_path) in seen  # that of another model
    assert rasa_model.model_fingerprint(tmp_path, Path("config.other.yml")) not in seen


def test_each_configuration_has_a_model_of_its_own() -> None:
    assert rasa_model.model_path().name == "bot.tar.gz"
    assert rasa_model.model_path(Path("config.comprehend.yml")).name == "bot-comprehend.tar.gz"
    # What Rasa makes of `--fixed-model-name`: what follows a dot is an ending.
    assert Path("bot-comprehend").with_suffix(".tar.gz").name == "bot-comprehend.tar.gz"
    with pytest.raises(UserError, match=r"config\.nowhere\.yml: no such configuration"):
        rasa_model.model_path(Path("config.nowhere.yml"))
    with pytest.raises(UserError, match=r"config\.nowhere\.yml: no such configuration"):
        server._steps(Console(), Path("config.nowhere.yml"))


def test_a_model_is_fresh_only_with_its_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasa_model, "MODELS", tmp_path)
    assert rasa_model.fresh_model() is None
    model = rasa_model.model_path()
    model.write_bytes(b"model")
    assert rasa_model.fresh_model() is None
    rasa_model.write_stamp(model, rasa_model.model_fingerprint())
    assert rasa_model.fresh_model() == model
    model.write_bytes(b"another model")
    assert rasa_model.fresh_model() is None
    rasa_model.write_stamp(model, "made from something else")
    assert rasa_model.fresh_model() is None
    (tmp_path / "bot.json").write_text("{")
    assert rasa_model.fresh_model() is None
    # What was written by two at once, or half, is as long as it should be.
    rasa_model.write_stamp(model, rasa_model.model_fingerprint())
    model.write_bytes(b"rehtona model!"[: model.stat().st_size])
    assert rasa_model.fresh_model() is None


# In the place of `rasa train`: half of an archive, and after a while the other half.
TRAINER = """#!{python}
import os, pathlib, sys, time
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(exist_ok=True)
with open(r"{trained}", "a") as log:
    print(os.getpid(), file=log)
with open(out / (sys.argv[sys.argv.index("--fixed-model-name") + 1] + ".tar.gz"), "w") as model:
    for _ in range(2):
        print(os.getpid(), file=model, flush=True)
        time.sleep(1)
"""
STARTS = """
import pathlib, sys
from rich.console import Console
from bot import rasa_model, server
sys.executable = sys.argv[2]
rasa_model.MODELS = pathlib.Path(sys.argv[1])
server._ensure_encoder = server.ensure_directory = lambda: "…"
server._prepare(server.Steps(Console(), total=4), rasa_model.CONFIG)
"""


def test_two_first_starts_at_once_make_one_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, trained, models = tmp_path / "trainer", tmp_path / "trained", tmp_path / "models"
    trainer.write_text(TRAINER.format(python=sys.executable, trained=trained))
    trainer.chmod(0o755)
    command = [sys.executable, "-c", STARTS, str(models), str(trainer)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    (trainer_id,) = trained.read_text().split()
    assert (models / "bot.tar.gz").read_text().split() == [trainer_id] * 2
    assert sorted("waiting for its model" in text for text in said) == [False, True], said
    assert sorted("up to date" in text for text in said) == [False, True], said
    monkeypatch.setattr(rasa_model, "MODELS", models)
    assert rasa_model.fresh_model() is not None
    assert [path.name for path in models.glob(".training*")] == []


def test_a_training_that_fails_leaves_the_model_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasa_model, "MODELS", tmp_path)
    monkeypatch.setattr(sys, "executable", "false")
    model = rasa_model.model_path()
    model.write_bytes(b"model")
    rasa_model.write_stamp(model, "fingerprint")
    with pytest.raises(UserError, match="The training failed"):
        rasa_model.train()
    assert model.read_bytes() == b"model"


def test_a_machine_that_only_serves_takes_the_model_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasa_model, "MODELS", tmp_path)
    monkeypatch.setattr(server, "can_train", lambda: False)
    monkeypatch.setenv("DIRECTORY_URL", f"sqlite:///{tmp_path / 'people.db'}")
    model = rasa_model.model_path()
    model.write_bytes(b"trained elsewhere")
    console = Console(record=True)
    assert server._prepare(server.Steps(console, total=4), rasa_model.CONFIG) == model
    assert "trained elsewhere" in console.export_text()


# --- settings and progress --------------------------------------------------------------------


def test_settings_give_way_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTION_TIMEOUT", raising=False)
    monkeypatch.setenv("RASA_TELEMETRY_ENABLED", "true")
    environment = rasa_cli.project_environment()
    assert environment["ACTION_TIMEOUT"] == "10"
    assert environment["RASA_TELEMETRY_ENABLED"] == "true"


def test_the_action_timeout_reaches_rasa(monkeypatch: pytest.MonkeyPatch) -> None:
    import rasa.core.actions.action as action

    monkeypatch.setattr(action, "DEFAULT_REQUEST_TIMEOUT", action.DEFAULT_REQUEST_TIMEOUT)
    rasa_cli.set_action_timeout(7.5)
    # The name that RemoteAction.run looks up when it is called.
    assert action.RemoteAction.run.__globals__["DEFAULT_REQUEST_TIMEOUT"] == 7.5


def test_a_wrong_action_timeout_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot.runtime.rasa_cli", "run"],
        cwd=server.PROJECT_ROOT,
        env={**os.environ, "ACTION_TIMEOUT": "soon"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "ACTION_TIMEOUT must be a number of seconds" in done.stderr


def test_steps_are_plain_lines_without_a_terminal() -> None:
    console = Console(record=True, width=80, force_terminal=False)
    steps = server.Steps(console, total=2)
    with steps.step("First") as notes:
        notes.append("built")
    with steps.step("Second"):
        pass
    lines = console.export_text().splitlines()
    assert lines[0] == "[1/2] First …"
    assert lines[1].strip().startswith("built (")
    assert lines[2] == "[2/2] Second …"
