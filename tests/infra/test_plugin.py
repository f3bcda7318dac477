"""docs/plugin.md in a project of somebody else, done as the page says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.processes import free_port
from tests.support import ROOT
from tests.support.documented import Block, blocks
from tests.support.tiny_encoder import build_tiny_encoder

PAGE = ROOT / "docs" / "plugin.md"
UV = ROOT / ".venv" / "bin" / "uv"
START_SECONDS = 300

# What is in the project of `rasa init` besides: an action, and a question that it answers.
ACTION = """
from rasa_sdk import Action


class ActionWhere(Action):
    def name(self):
        return "action_where"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text=f"from {__name__} of the project")
        return []
"""
QUESTION, ANSWER = "are you a bot?", "from actions.actions of the project"
# Packages of the project with the names that ours have in this repository.
THEIRS = ("bot", "components")


class Project:
    """A Rasa project beside the wheel, with a home and environments of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "my-bot"
        self.home = folder / "home"
        self.folder.mkdir()
        self.home.mkdir()
        # The ports of the page may be taken on this machine.
        self.ports = {"5005": str(free_port()), "5055": str(free_port())}
        outside = {"VIRTUAL_ENV", "PYTHONPATH", "XDG_CACHE_HOME", "BOT_ENCODERS"}
        uv_cache = subprocess.check_output([UV, "cache", "dir"], text=True).strip()
        self.environ = {
            **{name: value for name, value in os.environ.items() if name not in outside},
            "PATH": f"{Path(sys.base_prefix, 'bin')}:{UV.parent}:{os.environ['PATH']}",
            "UV_PYTHON_DOWNLOADS": "never",
            "HOME": str(self.home),
            "UV_CACHE_DIR": uv_cache,
            "SKILLS_BOT": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "RASA_TELEMETRY_ENABLED": "false",
            "OMP_WAIT_POLICY": "PASSIVE",  # other tests run beside this one
            "SQLALCHEMY_SILENCE_UBER_WARNING": "1",
        }

    def use(self, environment: str) -> None:
        """Work in a virtual environment of the project from now on."""
        self.environ["PATH"] = f"{self.folder / environment / 'bin'}:{os.environ['PATH']}"

    def command(self, block: Block) -> str:
        """Return the commands of a block, on ports that are free."""
        return re.sub("|".join(self.ports), lambda port: self.ports[port[0]], block.text)

    def run(self, command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-ec", command],
            cwd=self.folder,
            env=self.environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=600,
            **options,
        )

    @contextmanager
    def running(self, command: str, until: str) -> Iterator[None]:
        """Run a command that stays, from when it answers at the address ``until`` to Ctrl-C."""
        log = self.folder.parent / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["bash", "-ec", f"exec {command}"],
                cwd=self.folder,
                env=self.environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(until):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(30)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5)
    except OSError:
        return False
    return True


def documented(beginning: str) -> Block:
    """Return the shell block of the page with a command that begins like that."""
    (found,) = (one for one in blocks(PAGE, "sh") if re.search(f"(?m)^{beginning}", one.text))
    return found


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The wheel, built as the page says."""
    command = documented('cd "').text
    subprocess.run(
        ["bash", "-ec", command], env={**os.environ, "SKILLS_BOT": str(ROOT)}, check=True
    )
    (built,) = (ROOT / "dist").glob("skills_bot-*.whl")
    return built


@pytest.fixture(scope="module")
def project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of `rasa init` with both environments of the page and its configuration."""
    made = Project(tmp_path_factory.mktemp("plugin"))
    for environment in (".venv", ".venv-serve"):
        done = made.run(documented(f"uv venv --python 3.10 {environment}\n").text)
        assert done.returncode == 0, done.stdout
    made.use(".venv")
    # What `rasa init` does before it trains.
    init = "from rasa.cli.scaffold import create_initial_project as make; make('.')"
    done = made.run(f'python -W ignore -c "{init}"')
    assert done.returncode == 0, done.stdout
    (made.folder / "actions" / "actions.py").write_text(ACTION)
    for package in THEIRS:
        (made.folder / package).mkdir()
        (made.folder / package / "__init__.py").write_text("raise SystemExit('not ours')\n")
    with (made.folder / "domain.yml").open("a") as domain:
        domain.write("\nactions:\n  - action_where\n")
    rules = made.folder / "data" / "rules.yml"
    rules.write_text(rules.read_text().replace("utter_iamabot", "action_where"))
    for block in blocks(PAGE, "yaml"):
        name = block.text.partition("\n")[0].removeprefix("# ")
        (made.folder / name).write_text(made.command(block))
    return made


@pytest.fixture(scope="module")
def trained(project: Project) -> str:
    """What `rasa train` prints, once it has trained a model."""
    project.use(".venv")
    done = project.run(documented("rasa train").text)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def serving(project: Project, trained: str) -> Iterator[Project]:
    """The project in the environment without PyTorch."""
    project.use(".venv-serve")
    yield project
    project.use(".venv")


def test_the_wheel_has_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        needed = re.findall(
            r"(?m)^Requires-Dist: ([\w-]+)[^;\n]*$", archive.read(metadata).decode()
        )
        (scripts,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
        commands = re.findall(r"(?m)^([\w-]+) = ", archive.read(scripts).decode())
    folders = {name.partition("/")[0] for name in names}
    assert {name for name in folders if not name.endswith(".dist-info")} == {"skills_bot"}
    assert commands == ["skills-bot"]
    assert not {"torch", "transformers", "moto", "locust"} & set(needed)


def test_every_module_of_the_wheel_is_imported_under_its_new_name(serving: Project) -> None:
    walk = """
import pkgutil, importlib, sys, skills_bot
for name in skills_bot.__all__:
    getattr(skills_bot, name)
for module in pkgutil.walk_packages(skills_bot.__path__, "skills_bot."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        assert error.name == "torch", error
print(sorted({"bot", "components", "actions"} & set(sys.modules)))
"""
    done = serving.run(f"cd {serving.home} && python -W ignore -", input=walk)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout


def test_training_builds_the_offline_encoder_in_the_cache_of_the_user(
    project: Project, trained: str
) -> None:
    encoder = project.home / ".cache" / "skills-bot" / "encoders" / "e5-small-fr"
    assert (encoder / "encoder.json").is_file()
    assert str(encoder) in trained
    assert not (project.folder / "models" / "encoders").exists()
    done = project.run("skills-bot encoder verify")
    assert (done.returncode, "intact" in done.stdout) == (0, True), done.stdout


def test_the_shell_answers(serving: Project) -> None:
    shell = documented("rasa shell").text.rstrip()
    done = serving.run(f"{shell} --port {serving.ports['5005']}", input="hello\n/stop\n")
    assert done.returncode == 0, done.stdout
    assert "Hey! How are you?" in done.stdout


def test_the_server_answers_with_the_actions_of_the_project(serving: Project) -> None:
    def command(beginning: str) -> str:
        return serving.command(documented(beginning)).partition("\n")[2].strip()

    bot, actions = (f"http://localhost:{serving.ports[port]}" for port in ("5005", "5055"))
    with (
        serving.running(command("rasa run actions"), f"{actions}/health"),
        serving.running(command("rasa run --port"), f"{bot}/webhooks/rest/"),
    ):
        done = serving.run(serving.command(documented("curl")))
        assert json.loads(done.stdout) == [{"recipient_id": "me", "text": ANSWER}], QUESTION
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{bot}/webhooks/mobile/v1/messages", b"{}", timeout=30)
        assert refused.value.code == 401
    assert (serving.folder / "events.db").is_file()


def test_without_pytorch_training_says_what_to_install(serving: Project) -> None:
    done = serving.run("rasa train --force")
    assert done.returncode == 1
    assert "pip install 'skills-bot[train]'" in done.stdout.splitlines()[-1], done.stdout


def test_they_live_beside_other_components_and_in_other_languages(
    project: Project, trained: str
) -> None:
    encoder = build_tiny_encoder(project.home / "encoder", ["hello", "are you a bot?"])
    (project.folder / "config.en.yml").write_text(
        f"""
recipe: default.v1
language: en
assistant_id: my-bot
pipeline:
  - name: WhitespaceTokenizer
  - name: CountVectorsFeaturizer
  - name: DIETClassifier
    epochs: 1
  - name: skills_bot.CamembertIntentClassifier
    encoder: {encoder}
    epochs: 1
    freeze_layers: 0
    refit: false
  - name: skills_bot.FrenchCRFEntityExtractor
  - name: skills_bot.GazetteerEntityExtractor
  - name: EntitySynonymMapper
  - name: FallbackClassifier
policies:
  - name: RulePolicy
"""
    )
    done = project.run("rasa train nlu --config config.en.yml --out other")
    assert done.returncode == 0, done.stdout
    (model,) = (project.folder / "other").glob("nlu-*.tar.gz")
    with tarfile.open(model) as archive:
        names = "\n".join(archive.getnames())
    assert "DIETClassifier" in names
    assert "skills_bot.CamembertIntentClassifier" in names
