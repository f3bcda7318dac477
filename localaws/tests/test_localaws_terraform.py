"""Terraform with Amazon's real provider against the local AWS."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localaws import LocalAWS
from localaws.terraform import Terraform, provider_mirror
from localaws.tests.conftest import TIME_SCALE, eventually, zipped

HERE = Path(__file__).parent


@pytest.fixture
def server() -> Iterator[LocalAWS]:
    command = shlex.join([sys.executable, str(HERE / "fake_container.py")])
    with LocalAWS(time_scale=TIME_SCALE, images={"*/fake:*": command}) as aws:
        yield aws


@pytest.mark.skipif(
    not Terraform.available(), reason="needs terraform and a mirror of its AWS provider"
)
def test_everything_is_created_stays_and_is_destroyed(aws: LocalAWS, tmp_path: Path) -> None:
    code = tmp_path / "code.zip"
    code.write_bytes(zipped({"main.py": "def handle(event, context): return 'here'"}))
    terraform = Terraform(
        HERE / "terraform", tmp_path, aws.environment(), {"lambda_zip": str(code)}
    )
    terraform.apply()
    assert terraform.changes() == []
    assert terraform.outputs() == {"function": "localaws", "region": "eu-west-1"}
    managed = [name for name in terraform.resources() if not name.startswith("data.")]
    assert len(managed) == 37
    answer = aws.client("lambda").invoke(FunctionName="localaws")
    assert answer["Payload"].read() == b'"here"'
    terraform.destroy()
    assert terraform.resources() == []
    assert aws.client("s3").list_buckets()["Buckets"] == []
    assert aws.client("sagemaker").list_endpoints()["Endpoints"] == []


# Stands in for Terraform: starts what stands in for its provider, says both ids, and goes on.
ENDLESS = """#!/bin/sh
trap '' INT
sleep 600 &
echo "$$ $!"
wait
"""


def test_an_interruption_ends_terraform_and_its_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "terraform"
    program.write_text(ENDLESS)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("localaws.terraform._PATIENCE", 0.2)  # it does not heed SIGINT
    terraform = Terraform(HERE / "terraform", tmp_path / "workspace", {})
    running: list[int] = []

    def interrupt(line: str) -> None:
        running.extend(int(number) for number in line.split())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        terraform.run("apply", tell=interrupt)
    assert len(running) == 2
    eventually(lambda: [pid for pid in running if alive(pid)], lambda left: not left)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet (a zombie) does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_the_mirror_is_taken_from_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "host.example" / "hashicorp" / "aws" / "5.100.0").mkdir(parents=True)
    monkeypatch.setenv("LOCALAWS_TF_MIRROR", str(tmp_path))
    assert provider_mirror() == tmp_path
