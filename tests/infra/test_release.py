"""What a release is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import UserError
from infra import release

CHANGELOG = """# Changelog

## Unreleased

## 1.2.0 — 2026-11-26

- new

## 1.1.0 — 2026-01-02

- old
"""


def test_notes_are_the_section_of_the_version() -> None:
    assert release.notes(CHANGELOG, "1.2.0") == "- new\n"
    assert release.notes(CHANGELOG, "1.1.0") == "- old\n"


@pytest.mark.parametrize("wanted", ["1.3.0", "1.2", "Unreleased"])
def test_a_version_without_notes_is_refused(wanted: str) -> None:
    with pytest.raises(UserError, match=f"says nothing of {wanted}.*YYYY-MM-DD"):
        release.notes(CHANGELOG, wanted)


def test_the_version_is_that_of_the_project() -> None:
    project = (Path(release.ROOT) / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{release.version(project)}"' in project


def test_a_release_is_made_of_what_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text('version = "1.2.0"\n', encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    (tmp_path / "Makefile").write_text("wheel:\n\t@mkdir -p dist && touch dist/a.whl\n")
    (tmp_path / ".gitignore").write_text("/dist/\n")
    monkeypatch.setattr(release.shutil, "which", lambda name: None)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.com")
    release.run("git", "init", "--quiet")
    with pytest.raises(UserError, match="uncommitted"):
        release.release()
    release.run("git", "add", ".")
    release.run("git", "commit", "--quiet", "--message", "All")
    release.release()
    assert (tmp_path / "dist" / "notes.md").read_text(encoding="utf-8") == "- new\n"
    assert "- new" in release.run("git", "tag", "--list", "v1.2.0", "--format=%(contents)")
    with pytest.raises(UserError, match=r"v1\.2\.0 exists"):
        release.release()
