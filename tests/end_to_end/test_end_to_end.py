"""`bot run` as a user starts it: two servers on free ports, questions over HTTP, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import HOST, ROOT
from tests.support.questions import (
    test_a_follow_up_remembers,  # noqa: F401
    test_how_are_you,  # noqa: F401
    test_odd_input_gets_an_answer,  # noqa: F401
    test_who_is,  # noqa: F401
    test_who_knows_about,  # noqa: F401
)
from tests.support.running_bot import (
    PEOPLE,
    RunningBot,
    descendants,
    end,
    full_name,
    is_free,
    runs,
    skills_of,
    start_bot,
    wait_for,
    wait_until_up,
)


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
