"""How the images of SageMaker are built and pushed: by programs that note how they are called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT

SCRIPT = ROOT / "infra" / "sagemaker" / "push.sh"
EXAMPLE = ROOT / "infra" / "sagemaker" / "ci.example.yml"
DIGEST = "sha256:" + "0" * 64
ANSWERS = {
    "terraform": """echo '{"repositories": {"training": "h/t", "inference": "h/i"}}'""",
    "jq": """python3 -c 'import json, sys
value = json.load(sys.stdin)
for key in sys.argv[-1].strip(".").split("."): value = value[key]
print(value if isinstance(value, str) else json.dumps(value))' "$@\"""",
    "aws": "echo password",
    "docker": f"""case "$*" in *imagetools*) echo {DIGEST};; *login*) cat >/dev/null;; esac""",
}


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """The environment in which the script finds them; they write to ``calls``."""
    for name, answer in ANSWERS.items():
        path = tmp_path / name
        note = f'echo "{name} $*" >> {tmp_path / "calls"}'
        path.write_text(f"#!/bin/bash\n{note}\n{answer}\n")
        path.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def builds(programs: dict[str, str], **more: str) -> list[str]:
    """Run the script; return its builds."""
    subprocess.run([SCRIPT, "1.2"], env={**programs, **more}, check=True, capture_output=True)
    calls = Path(programs["PATH"].split(":")[0], "calls").read_text().splitlines()
    return [call for call in calls if call.startswith("docker buildx build")]


def test_both_images_are_pushed_with_dockers_manifests(programs: dict[str, str]) -> None:
    training, inference = builds(programs)
    assert "--target training" in training
    assert "name=h/t:1.2,push=true,oci-mediatypes=false" in training
    assert "--target inference" in inference
    assert "name=h/i:1.2,push=true,oci-mediatypes=false" in inference


def test_pythons_image_is_taken_by_its_digest(programs: dict[str, str]) -> None:
    dockerfile = (ROOT / "infra/sagemaker/Dockerfile").read_text(encoding="utf-8")
    (tag,) = [line[17:] for line in dockerfile.splitlines() if line.startswith("ARG PYTHON_IMAGE=")]
    for build in builds(programs):
        assert f"--build-arg PYTHON_IMAGE={tag}@{DIGEST} " in build


def test_a_digest_that_is_given_is_taken(programs: dict[str, str]) -> None:
    for build in builds(programs, PYTHON_IMAGE="mirror/python@sha256:1"):
        assert "--build-arg PYTHON_IMAGE=mirror/python@sha256:1 " in build


def test_the_example_for_ci_pushes_what_its_tag_says(programs: dict[str, str]) -> None:
    steps = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["jobs"]["push"]["steps"]
    *_, push = [step["run"] for step in steps if "run" in step]
    environment = {**programs, "GITHUB_REF_NAME": "camembert-1.2"}
    subprocess.run(["bash", "-c", push], cwd=ROOT, env=environment, check=True, capture_output=True)
    calls = Path(programs["PATH"].split(":")[0], "calls").read_text()
    assert "name=h/i:1.2," in calls
