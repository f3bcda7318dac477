"""The archive of the Lambda functions: what is in it, and that it runs without anything else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localaws import LocalAWS
from tests.support import ROOT
from tests.support.retraining_harness import TIME_SCALE, Pipeline

# Calls functions as Lambda does, with the archive unpacked and nothing else.
LAMBDA = """\
import json, sys
sys.path[:0] = [sys.argv[1]]
from bot.retraining import handlers
answer = getattr(handlers, sys.argv[2])(json.load(sys.stdin))
print(json.dumps({"answer": answer, "modules": sorted({m.split(".")[0] for m in sys.modules})}))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalAWS]:
    with LocalAWS(time_scale=TIME_SCALE) as aws:
        yield aws


@pytest.fixture
def aws(server: LocalAWS) -> Iterator[LocalAWS]:
    yield server
    server.reset()


def build(output: Path) -> str:
    """Build the archive; return what the command prints."""
    command = [sys.executable, str(ROOT / "infra/lambda/build.py"), str(output)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lambda") / "lambda.zip"
    build(path)
    return path


@pytest.fixture(scope="module")
def task(archive: Path) -> Path:
    """The archive unpacked, as Lambda does."""
    folder = archive.parent / "task"
    zipfile.ZipFile(archive).extractall(folder)
    return folder


def call(
    task: Path, function: str, event: Any, environment: dict[str, str], python: str = sys.executable
) -> dict[str, Any]:
    """Call a function of the archive in a process that has nothing but that."""
    done = subprocess.run(
        [python, "-I", "-S", "-c", LAMBDA, str(task), function],
        input=json.dumps(event),
        env=environment,
        cwd=task,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_same_sources_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    printed = build(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    assert "KiB" in printed


def test_only_what_is_needed_is_in_it(archive: Path) -> None:
    names = zipfile.ZipFile(archive).namelist()
    assert names == sorted(names)
    assert not [name for name in names if name.endswith((".so", ".pyc")) or ".." in name]
    tops = {name.split("/")[0] for name in names}
    assert {"bot", "components", "jsonschema", "attr", "pyrsistent", "botocore"} <= tops
    assert not {"rasa", "torch", "typer", "boto3", "s3transfer"} & tops
    assert not [name for name in names if name.startswith("botocore/data/ec2/")]
    assert not [name for name in names if name.startswith("bot/cli")]
    assert archive.stat().st_size < 4_000_000  # cold starts; the SDK of SageMaker has 12 times that


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_a_dataset_is_taken_in_by_the_archive_alone(
    task: Path, aws: LocalAWS, version: str
) -> None:
    python = _python(version)
    pipeline = Pipeline.create(aws)
    good, bad = pipeline.put(), pipeline.put(b"{")
    event = {"Records": [*good["Records"], *bad["Records"]]}
    result = call(task, "start_training", event, pipeline.environment, python)

    statuses = [run["status"] for run in result["answer"]["runs"]]
    assert statuses == ["STARTED", "REJECTED_DATASET"]
    assert not {"rasa", "torch", "typer", "rich", "numpy"} & set(result["modules"])


def _python(version: str) -> str:
    """Return a Python of that version; skip where the machine has none that runs."""
    if sys.version.startswith(f"{version}."):
        return sys.executable
    for python in (shutil.which(f"python{version}"), *_pyenv(version)):
        if python and _runs(python, version):
            return python
    pytest.skip(f"no Python {version} here")


def _pyenv(version: str) -> list[str]:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return [str(path) for path in versions.glob(f"{version}.*/bin/python")]


def _runs(python: str, version: str) -> bool:
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() == version
