"""Every conversation under tests/stories, put to the trained model by `rasa test`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
STORIES = ROOT / "tests" / "stories"


def check_conversations(model: Path, folder: Path) -> None:
    """Put every story to a model; `rasa test` writes into ``folder``."""
    command = ["test", "core", "--stories", str(STORIES), "--model", str(model)]
    options = ["--fail-on-prediction-errors", "--no-plot", "--out", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "bot.runtime.rasa_cli", *command, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    failed = folder / "failed_test_stories.yml"
    details = failed.read_text(encoding="utf-8") if failed.exists() else done.stderr
    assert done.returncode == 0, details[-5000:]
    told = [
        story["story"]
        for path in sorted(STORIES.glob("*.yml"))
        for story in yaml.safe_load(path.read_text(encoding="utf-8"))["stories"]
    ]
    report = json.loads((folder / "story_report.json").read_text(encoding="utf-8"))
    # Not only what was tested went well: all was tested.
    assert report["conversation_accuracy"]["correct"] == len(told) > 0


def test_the_conversations_go_as_told(trained_model: Path, tmp_path: Path) -> None:
    check_conversations(trained_model, tmp_path)
