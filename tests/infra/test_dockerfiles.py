"""Every Dockerfile of the repository, before the linter."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.support import ROOT

LINTER = Path(sysconfig.get_path("scripts")) / "hadolint"
DOCKERFILES = sorted(
    path
    for pattern in ("Dockerfile", "Dockerfile.*", "*.Dockerfile")
    for path in (*ROOT.glob(pattern), *ROOT.glob(f"[!.]*/**/{pattern}"))
    if path.suffix != ".dockerignore" and "node_modules" not in path.parts
)


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINTER, path], capture_output=True, text=True, check=False)


def test_the_container_is_among_them() -> None:
    assert ROOT / "infra" / "sagemaker" / "Dockerfile" in DOCKERFILES


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_linter_finds_nothing(path: Path) -> None:
    found = lint(path)
    assert found.returncode == 0, found.stdout


def test_the_linter_finds_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM python:latest\nRUN sudo make install\n")
    found = lint(path)
    assert found.returncode == 1
    for rule in ("DL3004", "DL3007"):
        assert rule in found.stdout
