"""Make a release out of what is committed: wheel, images, notes, tag.

    python -m infra.release

The version is that of pyproject.toml, the notes are its section of CHANGELOG.md. Nothing is pushed:
the last lines say how to.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from common.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
IMAGES = {"bot": "skills-bot", "actions": "skills-bot-actions"}


def version(project: str) -> str:
    """Return the version of a pyproject.toml's text."""
    found = re.search(r'^version = "(\d+\.\d+\.\d+)"$', project, re.MULTILINE)
    if not found:
        raise UserError("pyproject.toml has no version of the form 1.2.3.")
    return found[1]


def notes(changelog: str, wanted: str) -> str:
    """Return the section of a version out of a changelog's text.

    Raises:
        UserError: it has no such section with a date, or nothing stands in it.
    """
    head = rf"^## {re.escape(wanted)} — \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)"
    found = re.search(head, changelog, re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        raise UserError(
            f"CHANGELOG.md says nothing of {wanted}: put what is under « Unreleased » below "
            f"'## {wanted} — YYYY-MM-DD' and commit it."
        )
    return found[1].strip() + "\n"


def run(*command: str) -> str:
    """Run a command in the repository; return its output.

    Raises:
        UserError: it ended with an error, whose text is passed on.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(command[:3])} … failed:\n{done.stderr.strip()}")
    return done.stdout.strip()


def release() -> None:
    """Check, build, tag."""
    wanted = version((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), wanted)
    tag = f"v{wanted}"
    if run("git", "status", "--porcelain"):
        raise UserError("There are uncommitted changes: a release is made of what is committed.")
    if run("git", "tag", "--list", tag):
        raise UserError(f"{tag} exists: raise the version in pyproject.toml.")

    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run("make", "wheel")
    (dist / "notes.md").write_text(text, encoding="utf-8")
    docker = shutil.which("docker")
    if docker:
        for target, image in IMAGES.items():
            name = f"{image}:{wanted}"
            run(
                docker,
                "build",
                "--target",
                target,
                "--file",
                "infra/container/Dockerfile",
                "--tag",
                name,
                ".",
            )
    run("git", "tag", "--annotate", tag, "--message", text)

    print(f"dist/: {', '.join(sorted(path.name for path in dist.iterdir()))}")
    print(
        "images: "
        + (
            ", ".join(f"{i}:{wanted}" for i in IMAGES.values())
            if docker
            else "none, since there is no docker here"
        )
    )
    print(f"tag: {tag}; to publish it: git push origin {tag}")


if __name__ == "__main__":
    try:
        release()
    except UserError as error:
        sys.exit(str(error))
