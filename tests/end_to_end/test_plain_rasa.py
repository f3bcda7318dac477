"""Rasa's own commands in an activated environment with nothing set, as its documentation has them.

Each is slower than what `bot` runs, and does the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.load import raw_http
from bot.processes import free_port
from tests.support import HOST, ROOT
from tests.support.running_bot import wait_for
from tests.support.tty import CTRL_C, ENTER, Tty

INPUT = "Your input ->"
STORY_OPTIONS = ["--stories", "tests/stories", "--fail-on-prediction-errors", "--no-plot"]
CONFIGS = ["config.yml", "config.comprehend.yml"]


@pytest.fixture(scope="module")
def project(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what `rasa` reads, with a model and the sample directory, on free ports."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("common", "actions", "components", "bot", "data", "tests/stories"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules", "*.db*")
        )
    for name in (*CONFIGS, "domain.yml", "credentials.yml", "endpoints.yml"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "models").mkdir()
    shutil.copy(trained_model, folder / "models")
    (folder / "models" / "encoders").symlink_to(ROOT / "models" / "encoders")
    return folder


@pytest.fixture(scope="module")
def environ(project: Path) -> dict[str, str]:
    """The environment of somebody who has activated `.venv` and set nothing."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    environ = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TERM": "xterm",
    }
    command = ["python", "-m", "bot", "directory", "import", "data/directory.csv"]
    subprocess.run(command, cwd=project, env=environ, check=True, capture_output=True)
    return environ


def rasa(project: Path, environ: dict[str, str], *arguments: str) -> str:
    """Run a command of Rasa that ends; return what it wrote."""
    done = subprocess.run(
        ["rasa", *arguments], cwd=project, env=environ, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def actions(project: Path, environ: dict[str, str]) -> Iterator[int]:
    """`rasa run actions`, and `endpoints.yml` with its port."""
    port = free_port()
    endpoints = yaml.safe_load((project / "endpoints.yml").read_text(encoding="utf-8"))
    endpoints["action_endpoint"]["url"] = f"http://{HOST}:{port}/webhook"
    (project / "endpoints.yml").write_text(yaml.safe_dump(endpoints), encoding="utf-8")
    with Tty(
        ["rasa", "run", "actions", "--port", str(port)], cwd=project, environ=environ
    ) as terminal:
        terminal.expect("up and running")
        with terminal.watched():
            wait_for(lambda: _answers(f"http://{HOST}:{port}/ready"), 60)
            yield port


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_rasa_run_actions_answers_its_bot_alone(actions: int) -> None:
    url = f"http://{HOST}:{actions}/webhook"
    call = {"next_action": "action_none", "tracker": {"sender_id": "me"}, "version": "3.6.21"}
    assert httpx.post(url, json=call).status_code == 404  # no such action: it was let in
    for headers in (
        {"X-Forwarded-For": "192.0.2.1"},
        {"Origin": "http://192.0.2.1"},
        {"Host": "rebound.example.com"},
    ):
        assert httpx.post(url, json=call, headers=headers).status_code == 401


@pytest.fixture(scope="module")
def bot(project: Path, environ: dict[str, str], actions: int) -> Iterator[int]:
    """`rasa run` with every option that Rasa's documentation shows, on all interfaces."""
    port = free_port()
    options = ["--endpoints", "endpoints.yml", "--credentials", "credentials.yml", "--enable-api"]
    command = ["rasa", "run", "-m", "models", *options, "--port", str(port)]
    with Tty(command, cwd=project, environ=environ) as terminal:
        terminal.expect("server is up and running")
        with terminal.watched():
            yield port


def test_rasa_run_answers(bot: int) -> None:
    url = f"http://{HOST}:{bot}/webhooks/rest/webhook"
    answer = httpx.post(url, json={"sender": "me", "message": "Qui est Maëlys Kerguelen ?"})
    text, card = answer.json()
    assert "maelys.kerguelen@example.com" in text["text"]
    assert card["custom"]["type"] == "person_card"


def test_rasa_run_answers_only_this_machine_without_authentication(bot: int) -> None:
    base, proxy = f"http://{HOST}:{bot}", {"X-Forwarded-For": "192.0.2.1"}
    message = {"sender": "me", "message": "Qui est Maëlys Kerguelen ?"}
    for method, path, body in (
        ("POST", "/webhooks/rest/webhook", message),
        ("POST", "/model/parse", {"text": "Qui est Maëlys Kerguelen ?"}),
        ("GET", "/status", None),
        ("GET", "/conversations/me/tracker", None),
        ("POST", "/webhooks/mobile/v1/development/token", {}),
        ("POST", "/webhooks/mobile/v1/messages", {"text": "Bonjour"}),
    ):
        assert httpx.request(method, base + path, json=body).status_code in (200, 401), path
        answer = httpx.request(method, base + path, json=body, headers=proxy)
        assert answer.status_code == 403, path
        assert "Kerguelen" not in answer.text
    # What is open to everybody anyway.
    for path in ("/", "/webhooks/mobile/v1/health"):
        assert httpx.get(base + path, headers=proxy).status_code == 200


def test_rasa_run_answers_its_own_pages_alone(bot: int) -> None:
    """A page elsewhere can be shown in a browser of this machine, and give itself its address."""
    base, message = f"http://{HOST}:{bot}", {"sender": "me", "message": "Qui connaît Docker ?"}
    for headers, status in (
        ({"Host": f"localhost:{bot}", "Origin": f"http://localhost:{bot}"}, 200),
        ({"Host": "rebound.example.com"}, 403),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "null", "Content-Type": "text/plain"}, 403),
    ):
        for path, body in (("webhooks/rest/webhook", message), ("model/parse", {"text": "a"})):
            answer = httpx.post(f"{base}/{path}", json=body, headers=headers)
            assert answer.status_code == status, (path, headers)
    rebound = {"Host": "rebound.example.com"}
    assert httpx.get(f"{base}/webhooks/mobile/v1/config", headers=rebound).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        *(b"[]", b"null", b'"x"', b"7", b"", b"{", b"{}", b"[" * 100_000),
        *(b'{"message": 5}', b'{"message": null}', b'{"message": " "}', b'{"message": "\\ud800"}'),
        b'{"message": "a", "sender": 5}',
        b'{"message": "a", "sender": "%b"}' % (b"x" * 300),
        b'{"message": "a", "sender": "mobile-0123456789abcdef"}',
        b'{"message": "/WHO_IS{\\"offset\\": %b%b}"}' % (b"[" * 500, b"]" * 500),
    ],
)
def test_rest_says_what_to_send(bot: int, body: bytes) -> None:
    for path in ("webhook", "webhook?stream=true"):
        answer = httpx.post(f"http://{HOST}:{bot}/webhooks/rest/{path}", content=body)
        assert answer.status_code == 400
        assert 'send {"sender": "me", "message": ' in answer.text.replace('\\"', '"')


def test_rest_takes_nobody_s_word_for_who_they_are(bot: int) -> None:
    base, sender = f"http://{HOST}:{bot}", "somebody"
    caller = {"caller": {"subject": "the boss", "scopes": ["*"]}}
    body = {"sender": sender, "message": "Bonjour", "metadata": caller, "input_channel": "mobile"}
    assert httpx.post(f"{base}/webhooks/rest/webhook", json=body).status_code == 200
    tracker = httpx.get(f"{base}/conversations/{sender}/tracker").json()
    assert "the boss" not in json.dumps(tracker["events"])
    assert tracker["latest_input_channel"] == "rest"


def test_whatever_is_sent_to_rasa_run_is_answered(bot: int, actions: int) -> None:
    """The short form of `make faults`; whoever is not signed in is answered here, too."""

    def token(user: str) -> str:
        url = f"http://{HOST}:{bot}{raw_http.MOBILE}/development/token"
        return str(httpx.post(url, json={"subject": user}).json()["access_token"])

    for target in (
        raw_http.bot("rasa run", bot, list, token),
        raw_http.actions("rasa run actions", actions, list, None),
    ):
        raw_http.speak(target, 100)
        assert not target.problems, "\n".join(target.problems)


def test_rasa_shell_shows_text_and_menus(
    project: Path, environ: dict[str, str], actions: int
) -> None:
    port = free_port()
    with Tty(["rasa", "shell", "--port", str(port)], cwd=project, environ=environ) as terminal:
        terminal.expect(INPUT)
        terminal.send("Qui est Maëlys Kerguelen ?" + ENTER)
        shown = terminal.expect(r"à jour du [0-9/]+\)")
        assert "maelys.kerguelen@example.com" in shown
        terminal.expect(INPUT)
        terminal.send("Qui connaît Docker ?" + ENTER)
        terminal.expect("Voir la suite")
        assert "Custom json" not in terminal.output
        assert '"type"' not in terminal.output
        terminal.send(CTRL_C)
        assert terminal.wait() == 0
        assert "Traceback" not in terminal.output
    assert not _answers(f"http://{HOST}:{port}/")


def test_rasa_shell_nlu(project: Path, environ: dict[str, str]) -> None:
    with Tty(["rasa", "shell", "nlu"], cwd=project, environ=environ) as terminal:
        terminal.expect("Next message:")
        terminal.send("Qui connaît Docker ?" + ENTER)
        assert '"WHO_KNOWS_ABOUT"' in terminal.expect("Next message:")


def test_rasa_interactive(project: Path, environ: dict[str, str], actions: int) -> None:
    options = ["--skip-visualization", "--port", str(free_port())]
    command = ["rasa", "interactive", "--model", "models", *options]
    with Tty(command, cwd=project, environ=environ) as terminal:
        terminal.expect(INPUT)
        terminal.send("Qui connaît Docker ?" + ENTER)
        terminal.expect("WHO_KNOWS_ABOUT")
        terminal.send(ENTER)
        terminal.expect("action_who_knows_about")


def test_rasa_train(project: Path, environ: dict[str, str]) -> None:
    # What a training has computed before comes out of Rasa's cache.
    shutil.copytree(ROOT / ".rasa", project / ".rasa")
    rasa(project, environ, "train", "--out", "trained")
    (model,) = (project / "trained").glob("*.tar.gz")
    rasa(project, environ, "test", "core", "--model", str(model), *STORY_OPTIONS)


def test_rasa_train_with_comprehend_says_what_is_missing(
    project: Path, environ: dict[str, str]
) -> None:
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "eu-west-1"}
    done = subprocess.run(
        ["rasa", "train", "nlu", "--config", CONFIGS[1]],
        cwd=project,
        env={**environ, **nothing},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode != 0
    assert "AWS_ACCESS_KEY_ID" in done.stdout
