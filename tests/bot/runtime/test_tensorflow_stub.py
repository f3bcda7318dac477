"""TensorFlow is left out of Rasa's processes that do not need it, and of no other."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from bot.runtime import tensorflow_stub
from bot.runtime.rasa_cli import PROJECT_ROOT

OURS = [
    "components.tokenizer.FrenchTokenizer",
    "FallbackClassifier",
    "RulePolicy",
    "rasa.core.policies.rule_policy.RulePolicy",
]


@pytest.mark.parametrize(
    "name",
    ["DIETClassifier", "rasa.nlu.classifiers.diet_classifier.DIETClassifier", "TEDPolicy",
     "somebody.elses.Component"],
)  # fmt: skip
def test_components_on_tensorflow_and_unknown_ones_need_it(name: str) -> None:
    assert not tensorflow_stub.is_needed_by(OURS)
    assert tensorflow_stub.is_needed_by([*OURS, name])


def test_rasa_has_no_other_components_on_tensorflow() -> None:
    found = set()
    rasa = Path(next(path for path in sys.path if (Path(path) / "rasa/nlu").is_dir())) / "rasa"
    for path in [*rasa.glob("nlu/**/*.py"), *rasa.glob("core/policies/*.py")]:
        text = path.read_text(encoding="utf-8")
        if "import tensorflow" in text or "from tensorflow" in text:
            found |= {line.split("(")[0] for line in text.split("\nclass ")[1:]}
    assert found >= tensorflow_stub.COMPONENTS
    others = found - tensorflow_stub.COMPONENTS
    # Models and data structures of the components, and none of these.
    assert not any(
        name.endswith(("Classifier", "Featurizer", "Selector", "Policy")) for name in others
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(tensorflow_stub.VARIABLE, raising=False)
    write_config(tmp_path / "config.yml", OURS[0])
    (tmp_path / "models").mkdir()
    write_model(tmp_path / "models" / "old.tar.gz", "rasa.nlu.DIETClassifier", age=100)
    write_model(tmp_path / "models" / "new.tar.gz", *OURS)
    return tmp_path


def write_config(path: Path, *components: str) -> None:
    config = {
        "recipe": "default.v1",
        "pipeline": [{"name": name} for name in components],
        "policies": [{"name": "RulePolicy"}],
    }
    path.write_text(json.dumps(config))


def write_model(
    path: Path, *components: str, age: float = 0, config: dict[str, Any] | None = None
) -> None:
    nodes = {
        str(index): {"uses": name, "config": config or {}} for index, name in enumerate(components)
    }
    content = json.dumps({"predict_schema": {"nodes": nodes}}).encode()
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("./metadata.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    os.utime(path, (1e9 - age, 1e9 - age))


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "train nlu --fixed-model-name bot",
        "run",
        "run --port 5005 --model models",
        "run --model=models/new.tar.gz --enable-api",
        "shell models/new.tar.gz",
        "test nlu -m models/new.tar.gz",
        "interactive",
    ],
)
def test_commands_without_need(project: Path, command: str) -> None:
    assert not tensorflow_stub.is_needed_for(command.split())


@pytest.mark.parametrize(
    "command",
    [
        "run --model models/old.tar.gz",
        "run -m models/old.tar.gz",
        "shell models/old.tar.gz",
        "run --model nowhere",
        "run --remote-storage aws",
        "train --config other.yml",
        "train -c config.yml other.yml",
        "test nlu --config config.yml other.yml",
        "train --config nowhere.yml",
        "data validate",
        "--version",
        "",
    ],
)
def test_commands_with_need_or_in_doubt(project: Path, command: str) -> None:
    write_config(project / "other.yml", "DIETClassifier")
    assert tensorflow_stub.is_needed_for(command.split())


@pytest.mark.parametrize("name", ["DIETClassifier", OURS[0]])
def test_a_fallback_may_need_it(project: Path, name: str) -> None:
    """A classifier names another one, which stands in for it, in its configuration."""
    fallback = {"fallback": {"name": OURS[0], "fallback": {"name": name}}}
    pipeline = [{"name": OURS[0], **fallback}]
    config = {"pipeline": pipeline, "policies": [{"name": "RulePolicy"}]}
    (project / "config.yml").write_text(json.dumps(config))
    write_model(project / "models" / "new.tar.gz", OURS[0], config=fallback)
    for command in ("train", "run"):
        assert tensorflow_stub.is_needed_for([command]) == (name == "DIETClassifier")


def test_cross_validation_trains_the_configuration(project: Path) -> None:
    write_config(project / "config.yml", "DIETClassifier")
    assert not tensorflow_stub.is_needed_for(["test", "nlu"])
    assert tensorflow_stub.is_needed_for(["test", "nlu", "--cross-validation"])


def test_components_that_rasa_chooses_may_need_it(project: Path) -> None:
    (project / "config.yml").write_text("recipe: default.v1\npipeline: []\n")
    assert tensorflow_stub.is_needed_for(["train"])


def test_a_model_server_may_have_any_model(project: Path) -> None:
    (project / "endpoints.yml").write_text("models: {url: 'http://127.0.0.1:1'}\n")
    assert tensorflow_stub.is_needed_for(["run"])


def test_the_environment_has_the_last_word(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tensorflow_stub.VARIABLE, "always")
    assert tensorflow_stub.is_needed_for(["run"])
    monkeypatch.setenv(tensorflow_stub.VARIABLE, "never")
    assert not tensorflow_stub.is_needed_for(["run", "--remote-storage", "aws"])


def test_the_project_itself_needs_none() -> None:
    config = tensorflow_stub._components_of_config(PROJECT_ROOT / "config.yml")
    assert not tensorflow_stub.is_needed_by(config)


SCRIPT = """
import sys
from bot.runtime import tensorflow_stub
tensorflow_stub.leave_out()
import rasa.core.agent, rasa.core.run, rasa.engine.recipes.default_components
real = [name for name in sys.modules if name.startswith("tensorflow.python.framework")]
assert not real, real
from rasa.nlu.classifiers.diet_classifier import DIETClassifier
from rasa.utils.tensorflow.layers import Embed
assert DIETClassifier.get_default_config()["epochs"] == 300
try:
    Embed(1, 0.1, "x")
except tensorflow_stub.TensorFlowLeftOut as error:
    assert "BOT_TENSORFLOW=always" in str(error)
else:
    raise AssertionError("a layer was made")

import asyncio, tempfile
from pathlib import Path
from rasa.core.agent import Agent
from rasa.model_training import train_nlu
folder = Path(tempfile.mkdtemp())
(folder / "config.yml").write_text('''
recipe: default.v1
language: fr
assistant_id: x
pipeline:
- name: WhitespaceTokenizer
- name: CountVectorsFeaturizer
- name: LogisticRegressionClassifier
''')
(folder / "nlu.yml").write_text('''
version: "3.1"
nlu:
- {intent: a, examples: "- bonjour\\\\n- salut"}
- {intent: b, examples: "- qui est Ana\\\\n- qui est Bob"}
''')
model = train_nlu(str(folder / "config.yml"), str(folder / "nlu.yml"), str(folder))
answer = asyncio.run(Agent.load(model).parse_message("salut"))
assert answer["intent"]["name"] == "a", answer
print("answered")
"""


def test_rasa_trains_and_answers_without_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=PROJECT_ROOT,
        env={**os.environ, "RASA_TELEMETRY_ENABLED": "false", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("answered"), done.stderr[-3000:]


def test_what_is_there_already_stays() -> None:
    script = (
        "import sys, types; sys.modules['tensorflow'] = there = types.ModuleType('tensorflow');"
        "from bot.runtime import tensorflow_stub; tensorflow_stub.leave_out();"
        "assert not any(isinstance(one, tensorflow_stub._Finder) for one in sys.meta_path)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, check=True)
