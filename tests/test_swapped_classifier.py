"""One line of the configuration swaps CamemBERT for Comprehend, and everything else goes on.

The endpoint stands in the local AWS, so this says nothing of how well Amazon's own model does.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import dataset, server
from components.comprehend.config import DEFAULT_NAME, TRAIN_DEFAULTS
from components.comprehend.service import Comprehend
from components.comprehend.training import train
from tests.local_aws import BUCKET, ROLE, local_aws

# The questions of the end-to-end test, put to this module's bot.
from tests.test_end_to_end import (  # noqa: F401
    HOST,
    RunningBot,
    free_port,
    test_a_follow_up_remembers,
    test_how_are_you,
    test_odd_input_gets_an_answer,
    test_who_is,
    test_who_knows_about,
)
from tests.test_stories import ROOT, check_conversations

CONFIG = "config.comprehend.yml"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[None]:
    """The endpoint that the configuration names, trained on the bot's examples."""
    with local_aws(comprehend_throughput=0, time_scale=0.0001):
        examples = dataset.read(ROOT / "data" / "nlu.yml").examples
        settings = {
            **TRAIN_DEFAULTS,
            "s3_uri": f"s3://{BUCKET}/comprehend",
            "role_arn": ROLE,
            "poll_seconds": 0.1,
        }
        pairs = [(example.intent, example.text) for example in examples]
        train(Comprehend(), DEFAULT_NAME, pairs, settings, show=lambda text: None)
        yield


@pytest.fixture(scope="module")
def comprehend_model(endpoint: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    command = ["train", "--config", CONFIG, "--out", str(folder), "--fixed-model-name", "bot"]
    done = subprocess.run(
        [sys.executable, "-m", "bot.rasa_cli", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder / "bot.tar.gz"


@pytest.fixture(scope="module")
def bot(comprehend_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBot]:
    """Both servers as `bot run` starts them, with this model."""
    folder = tmp_path_factory.mktemp("bot")
    at = server.addresses(HOST, free_port(), free_port())
    token = f"-{secrets.token_urlsafe()}"  # as one in 64 begins
    children: list[server.Child] = []
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("DIRECTORY_URL", f"sqlite:///{folder / 'people.db'}")
        environ.setenv("AUDIT_LOG", str(folder / "audit"))
        subprocess.run(
            [sys.executable, "-m", "bot", "directory", "import", "data/directory.csv"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        try:
            children.append(server.start_action_server(at))
            children.append(server.start_bot(at, comprehend_model, token))
            health = f"http://{HOST}:{at.actions_port}/health"
            status = f"http://{HOST}:{at.port}/status?token={token}"
            server.wait_until_ready(children, [health, status])
            process, log = children[-1].process, children[-1].log
            yield RunningBot(process, log, at.port, at.actions_port, server.environment())
        finally:
            server.stop(children)


def test_the_conversations_go_as_told_with_comprehend(
    comprehend_model: Path, tmp_path: Path
) -> None:
    check_conversations(comprehend_model, tmp_path)
