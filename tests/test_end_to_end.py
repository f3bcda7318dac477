"""`bot run` as a user starts it: two servers on free ports, questions over HTTP, Ctrl-C."""

from __future__ import annotations

import csv
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bot.processes import free_port

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"

with (ROOT / "data/directory.csv").open(encoding="utf-8", newline="") as file:
    PEOPLE = list(csv.DictReader(file))


def skills_of(person: dict[str, str]) -> dict[str, int]:
    """Return skill → level of a line of the sample."""
    pairs = (skill.rpartition(":") for skill in person["skills"].split(";"))
    return {name: int(level) for name, _, level in pairs}


def full_name(person: dict[str, str]) -> str:
    return f"{person['first_name']} {person['last_name']}"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def descendants(pid: int) -> set[int]:
    """Return the process ids of all children, their children and so on."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in (task / "children").read_text().split():
            found |= {int(child)} | descendants(int(child))
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@dataclass
class RunningBot:
    """A `bot run` that is up, with its own directory."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int
    actions_port: int
    environ: dict[str, str]

    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text(encoding="utf-8")

    def send(self, message: Any, sender: str | None = None) -> list[dict[str, Any]]:
        """Send a message over the REST channel; a new conversation unless ``sender`` is given."""
        body = {"sender": sender or uuid.uuid4().hex, "message": message}
        url = f"http://{HOST}:{self.port}/webhooks/rest/webhook"
        response = httpx.post(url, json=body, timeout=60)
        assert response.status_code == 200
        answer: list[dict[str, Any]] = response.json()
        return answer

    def ask(self, message: Any, sender: str | None = None) -> str:
        """Return all that the bot says to a message."""
        return "\n".join(part["text"] for part in self.send(message, sender) if "text" in part)


def start_bot(folder: Path, *command: str) -> RunningBot:
    """Start ``python -m COMMAND``, by default `bot run`, with a directory of its own."""
    port, actions_port = free_port(), free_port()
    environ = {
        **os.environ,
        "DIRECTORY_URL": f"sqlite:///{folder / 'people.db'}",
        "AUDIT_LOG": str(folder / "audit"),
    }
    log = folder / "run.log"
    ports = ["--port", str(port), "--actions-port", str(actions_port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *(command or ("bot", "run")), *ports],
            cwd=ROOT,
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return RunningBot(process, log, port, actions_port, environ)


def wait_until_up(bot: RunningBot) -> None:
    wait_for(lambda: "Ctrl-C stops both" in bot.output() or bot.process.poll() is not None)
    assert bot.process.poll() is None, bot.output()


def end(bot: RunningBot) -> None:
    if bot.process.poll() is None:
        bot.process.terminate()
        bot.process.wait(60)


@pytest.fixture(scope="module")
def bot(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBot]:
    running = start_bot(tmp_path_factory.mktemp("bot"))
    try:
        wait_until_up(running)
        yield running
    finally:
        end(running)


def test_it_says_what_it_does_and_what_to_try(bot: RunningBot) -> None:
    output = bot.output()
    assert [int(number) for number in re.findall(r"^\[(\d)/4\]", output, re.M)] == [1, 2, 3, 4]
    assert "up to date" in output  # the session's model is used, not another one trained
    assert f"curl -s http://{HOST}:{bot.port}/webhooks/rest/webhook" in output
    curl = next(line for line in output.splitlines() if line.strip().startswith("curl"))
    answer = subprocess.run(curl, shell=True, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0
    knows = [one for one in PEOPLE if "Kubernetes" in skills_of(one) and one["agency"] == "Nantes"]
    assert knows
    for person in knows:
        assert person["last_name"] in answer.stdout


def test_it_listens_on_the_loopback_interface_alone(bot: RunningBot) -> None:
    listening = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        if state == "0A":
            host, port = address.split(":")
            listening[int(port, 16)] = host
    assert listening[bot.port] == listening[bot.actions_port] == "0100007F"


def test_rasas_own_api_is_closed(bot: RunningBot) -> None:
    assert httpx.get(f"http://{HOST}:{bot.port}/status").status_code == 401
    assert httpx.get(f"http://{HOST}:{bot.port}/conversations/x/tracker").status_code == 401


def test_who_is(bot: RunningBot) -> None:
    counts: dict[str, int] = {}
    for person in PEOPLE:
        counts[person["last_name"]] = counts.get(person["last_name"], 0) + 1
    for person in [one for one in PEOPLE if counts[one["last_name"]] == 1][:3]:
        answer = bot.ask(f"Qui est {full_name(person)} ?")
        for expected in (full_name(person), person["agency"], person["job_title"], person["email"]):
            assert expected in answer


def test_who_knows_about(bot: RunningBot) -> None:
    answer = bot.ask("Qui s'y connaît en Python ?")
    experts = [person for person in PEOPLE if "Python" in skills_of(person)]
    named = [person for person in PEOPLE if full_name(person) in answer]
    assert named
    assert all(person in experts for person in named)
    named.sort(key=lambda person: answer.index(full_name(person)))
    levels = [skills_of(person)["Python"] for person in named]
    best = sorted((skills_of(person)["Python"] for person in experts), reverse=True)
    assert levels == best[: len(levels)]
    assert f"{len(experts)} personnes" in answer


def test_how_are_you(bot: RunningBot) -> None:
    domain = yaml.safe_load((ROOT / "domain.yml").read_text(encoding="utf-8"))
    known = {response["text"] for response in domain["responses"]["utter_how_are_you"]}
    assert bot.ask("Bonjour, comment ça va ?") in known


def test_a_follow_up_remembers(bot: RunningBot) -> None:
    person = next(one for one in PEOPLE if one["last_name"] == "Kerguelen")
    sender = uuid.uuid4().hex
    assert person["email"] in bot.ask(f"Tu connais {full_name(person)} ?", sender)
    assert person["phone"] in bot.ask("et son téléphone ?", sender)


@pytest.mark.parametrize(
    "message",
    [
        "a" * 100_000,
        "Qui connaît " + "Java " * 20_000,
        "😀" * 50,
        "👩‍💻 Qui connaît Python ? 🐍",
        "\x00\x01\x07\x1b[31m",
        "\u202eعنوان البريد الإلكتروني\u202c",
        "'; DROP TABLE collaborators; --",
        "Qui est Robert'); DELETE FROM skills WHERE ('1'='1 ?",
        "<script>alert('x')</script>",
        "Qui est <b>Paul</b> ?",
        "/",
        "/unknown_intent",
        '/WHO_IS{"collaborator_id": "\' OR 1=1"}',
        "/WHO_IS{",
        "{{7*7}} ${HOME} %s %(name)s {name}",
    ],
    ids=lambda message: repr(message)[:30],
)
def test_odd_input_gets_an_answer(bot: RunningBot, message: str) -> None:
    answer = bot.ask(message)
    assert answer
    assert "<script>" not in answer
    assert bot.process.poll() is None


def test_odd_input_has_changed_nothing(bot: RunningBot) -> None:
    person = PEOPLE[0]
    assert person["email"] in bot.ask(f"Qui est {full_name(person)} ?")


def test_imported_people_are_known_at_once(bot: RunningBot, tmp_path: Path) -> None:
    question = "Qui est Zébulon Tartempion ?"
    assert "zebulon.tartempion@example.org" not in bot.ask(question)
    newcomers = tmp_path / "newcomers.csv"
    newcomers.write_text(
        "id,first_name,last_name,agency,job_title,email,phone,skills\n"
        "N0001,Zébulon,Tartempion,Rennes,Développeur,zebulon.tartempion@example.org,"
        "+33 6 00 00 00 00,COBOL:5;Python:1\n",
        encoding="utf-8",
    )
    subprocess.run(
        [sys.executable, "-m", "bot", "directory", "import", str(newcomers)],
        cwd=ROOT,
        env=bot.environ,
        check=True,
        capture_output=True,
    )
    assert "zebulon.tartempion@example.org" in bot.ask(question)


def test_ctrl_c_stops_both(bot: RunningBot) -> None:
    servers = descendants(bot.process.pid)
    assert len(servers) >= 2
    bot.process.send_signal(signal.SIGINT)
    assert bot.process.wait(60) == 0
    assert bot.output().rstrip().endswith("Stopped.")
    assert "Traceback" not in bot.output()
    wait_for(lambda: not any(runs(pid) for pid in servers), seconds=10)
    assert is_free(bot.port)
    assert is_free(bot.actions_port)


def test_the_end_of_one_server_is_the_end_of_both(trained_model: Path, tmp_path: Path) -> None:
    running = start_bot(tmp_path)
    try:
        wait_until_up(running)
        servers = descendants(running.process.pid)
        command_lines = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in servers}
        os.kill(next(pid for pid, line in command_lines.items() if "actions.server" in line), 9)
        assert running.process.wait(60) == 1
        assert "The action server has ended (signal 9)" in running.output()
        wait_for(lambda: not any(runs(pid) for pid in servers), seconds=10)
        assert is_free(running.port)
        assert is_free(running.actions_port)
    finally:
        end(running)
