"""Every conversation under tests/stories, put to the trained model by `rasa test`."""

from __future__ import annotations

from pathlib import Path

from tests.support.questions import check_conversations


def test_the_conversations_go_as_told(trained_model: Path, tmp_path: Path) -> None:
    check_conversations(trained_model, tmp_path)
