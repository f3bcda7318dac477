"""`bot shell` in a terminal: text and menus, and nothing that stays behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from rasa_sdk import Tracker

from actions import conversation
from bot.processes import free_port
from tests.support import ROOT
from tests.support.running_bot import descendants, is_free, runs, wait_for
from tests.support.tty import CTRL_C, ENTER, Tty


def test_ctrl_c_in_a_menu_leaves_nothing_behind(trained_model: Path, tmp_path: Path) -> None:
    port = free_port()
    environ = {
        **os.environ,
        "TERM": "xterm",
        "DIRECTORY_URL": f"sqlite:///{tmp_path / 'people.db'}",
        "AUDIT_LOG": str(tmp_path / "audit"),
    }
    command = [sys.executable, "-m", "bot", "shell", "--actions-port", str(port)]
    with Tty(command, cwd=ROOT, environ=environ) as terminal:
        terminal.expect("Your input ->")
        terminal.send("Qui connaît Docker ?" + ENTER)
        terminal.expect("Voir la suite")
        processes = descendants(terminal.process.pid)
        assert len(processes) >= 2
        terminal.send(CTRL_C)
        assert terminal.wait() == 0
    assert "Traceback" not in terminal.output
    assert "Custom json" not in terminal.output
    wait_for(lambda: not any(runs(pid) for pid in processes), seconds=10)
    assert is_free(port)


@pytest.mark.parametrize(
    ("channel", "wish", "expected"),
    [("cmdline", None, False), ("cmdline", "1", True), ("rest", None, True)],
)
def test_cards_are_for_apps(
    channel: str, wish: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(conversation.CARDS_VARIABLE, raising=False)
    if wish:
        monkeypatch.setenv(conversation.CARDS_VARIABLE, wish)
    event = {"event": "user", "text": "Qui ?", "input_channel": channel}
    tracker = Tracker("me", {}, {}, [event], False, None, {}, None)
    card = {"response": "utter_person_card", "custom": {"type": "person_card"}}
    (message,) = conversation._for_channel([card], tracker)
    assert bool(message["custom"]) is expected
    assert message["response"] == card["response"]
