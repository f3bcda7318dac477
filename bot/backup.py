"""Copies of all that cannot be made again: directory, conversations, models, audit log.

A backup is one tar archive, for its owner alone to read: ``manifest.json`` with the SHA-256 of each
other member; ``directory`` and ``conversations``, each an SQLite file (``.db``) or what ``pg_dump``
wrote (``.dump``); ``models/…``; ``audit/…``. Making and restoring one are safe while users talk:
both engines give and take a database as of one moment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import URL

from actions.audit import audit_log
from actions.directory import DirectoryError
from actions.directory.database import directory_url, safe_url
from bot import rasa_model
from bot.channels.conversations import conversations_url
from common.disk import sha256_of
from common.environment import keep_private
from common.errors import UserError

PARTS = ("directory", "conversations", "models", "audit")
MANIFEST = "manifest.json"
# What may be in an archive; nothing else is ever written.
_MEMBER = re.compile(
    r"(directory|conversations)\.(db|dump)|models/[\w.-]+\.(tar\.gz|json)|audit/\d{4}-\d\d-\d\d\.jsonl"
)
# Directory and conversations may be in one database: what is whose.
_EVENTS = ("events", "events_id_seq")
_TABLES = {
    "directory": [f"--exclude-table={name}" for name in _EVENTS],
    "conversations": [f"--table={name}" for name in _EVENTS],
}


def backup(
    archive: Path, parts: Iterable[str], endpoints: Path, environ: Mapping[str, str]
) -> dict[str, int]:
    """Write ``parts`` to ``archive``, whole or not at all; return the bytes of each member.

    Args:
        parts: of :data:`PARTS`; what is not there (yet) is left out.
        endpoints: file that names the tracker store, with the variables of ``environ``.

    Raises:
        UserError: there is such a file, a part cannot be read, or the archive not written.
    """
    if archive.exists():
        raise UserError(f"{archive} is there already: name another file.")
    with tempfile.TemporaryDirectory(dir=archive.resolve().parent, prefix=".backup-") as scratch:
        folder = Path(scratch)
        try:
            for part in parts:
                _collect(part, folder, endpoints, environ)
            members = sorted(path for path in folder.rglob("*") if path.is_file())
            names = {path.relative_to(folder).as_posix(): path for path in members}
            manifest = folder / MANIFEST
            manifest.write_text(json.dumps({n: sha256_of(p) for n, p in names.items()}, indent=1))
            made = folder / "archive"
            keep_private(made)
            with tarfile.open(made, "w") as tar:
                for name, path in {MANIFEST: manifest, **names}.items():
                    tar.add(path, name)
            made.replace(archive)
        except OSError as error:
            raise UserError(f"{archive} cannot be written: {error}") from None
        return {name: path.stat().st_size for name, path in names.items()}


def restore(
    archive: Path, parts: Iterable[str], endpoints: Path, environ: Mapping[str, str]
) -> list[str]:
    """Put ``parts`` of ``archive`` back, those that it has; return the members that were.

    Directory and conversations become what they were. Models take the place of those of the same
    name. To the audit log the lines are added that it lacks: it is never cut.

    Args:
        archive, parts, endpoints, environ: as of :func:`backup`.

    Raises:
        UserError: the archive is damaged or no backup, and nothing was changed; or a database
            refuses.
    """
    with tempfile.TemporaryDirectory(dir=archive.resolve().parent, prefix=".restore-") as scratch:
        folder = Path(scratch)
        names = _unpack(archive, folder)
        chosen = [name for name in names if re.split(r"[./]", name)[0] in set(parts)]
        for name in chosen:
            part = name.partition("/")[0].partition(".")[0]
            if part == "models":
                with rasa_model.training():
                    whole = rasa_model.MODELS / ".restored"
                    shutil.move(folder / name, whole)  # by a copy, from another disk
                    whole.replace(rasa_model.MODELS / Path(name).name)
            elif part == "audit":
                _add_lines(folder / name)
            else:
                _put_back(_url(part, endpoints, environ), folder / name, part)
        return chosen


def _collect(part: str, folder: Path, endpoints: Path, environ: Mapping[str, str]) -> None:
    """Copy ``part`` into ``folder``."""
    if part in _TABLES:
        url = _url(part, endpoints, environ)
        if url.get_backend_name() != "sqlite":
            options = ["--format=custom", "--no-owner", "--no-privileges", *_TABLES[part]]
            _postgresql("pg_dump", url, *options, f"--file={folder / f'{part}.dump'}")
        elif Path(str(url.database)).exists():
            _sqlite_snapshot(url, folder / f"{part}.db")
        return
    (folder / part).mkdir()
    log = audit_log()
    sources = {
        "models": [*rasa_model.MODELS.glob("*.tar.gz"), *rasa_model.MODELS.glob("*.json")],
        "audit": [] if log is None else log.folder.glob("????-??-??.jsonl"),
    }
    for path in sources[part]:
        shutil.copy2(path, folder / part)


def _url(part: str, endpoints: Path, environ: Mapping[str, str]) -> URL:
    if part == "conversations":
        return conversations_url(endpoints, environ)
    try:
        return directory_url()
    except DirectoryError as error:
        raise UserError(str(error)) from None


def _sqlite_snapshot(url: URL, target: Path) -> None:
    try:
        with closing(sqlite3.connect(str(url.database), timeout=60)) as connection:
            connection.execute("VACUUM INTO ?", [str(target)])
    except sqlite3.Error as error:
        raise UserError(f"{url.database} cannot be copied: {error}") from None


def _put_back(url: URL, source: Path, part: str) -> None:
    """Make the database at ``url`` what ``source`` is, in one transaction."""
    engine = {".db": "sqlite", ".dump": "postgresql"}[source.suffix]
    if url.get_backend_name() != engine:
        raise UserError(
            f"The backup of {part} is of {engine}, and {safe_url(url)} is not. A directory moves "
            "by `bot directory export` and `import`."
        )
    if engine == "postgresql":
        options = ["--clean", "--if-exists", "--no-owner", "--single-transaction"]
        _postgresql("pg_restore", url, *options, str(source))
        return
    keep_private(Path(str(url.database)))
    try:
        with (
            closing(sqlite3.connect(source)) as saved,
            closing(sqlite3.connect(str(url.database), timeout=60)) as target,
        ):
            saved.backup(target)
    except sqlite3.Error as error:
        raise UserError(f"{url.database} cannot be restored: {error}") from None


def _postgresql(program: str, url: URL, *arguments: str) -> None:
    """Run ``pg_dump`` or ``pg_restore`` on the database, its password not on the command line."""
    address = url.set(drivername="postgresql", password=None).render_as_string()
    environ = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    try:
        done = subprocess.run(
            [program, f"--dbname={address}", *arguments],
            env=environ, capture_output=True, text=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise UserError(f"{program} is missing: install PostgreSQL's client programs.") from None
    if done.returncode != 0:
        raise UserError(f"{program} failed for {safe_url(url)}: {done.stderr.strip()[-500:]}")


def _unpack(archive: Path, folder: Path) -> list[str]:
    """Write the members of ``archive`` to ``folder``; return their names."""
    try:
        with tarfile.open(archive, "r:") as tar:
            listed = tar.extractfile(MANIFEST)
            manifest: dict[str, str] = json.load(listed) if listed else {}
            for name, digest in manifest.items():
                content = tar.extractfile(name) if _MEMBER.fullmatch(name) else None
                if content is None:
                    raise UserError(f"{archive} is no backup of ours ({name!r}).")
                path = folder / name
                path.parent.mkdir(exist_ok=True)
                with path.open("wb") as target:
                    shutil.copyfileobj(content, target)
                if sha256_of(path) != digest:
                    raise UserError(f"{archive} is damaged ({name}): nothing was changed.")
    except (OSError, tarfile.TarError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{archive} is no backup, or damaged: {error}") from None
    return list(manifest)


def _add_lines(saved: Path) -> None:
    log = audit_log()
    if log is None:
        return
    log.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = log.folder / saved.name
    keep_private(path)
    present = set(path.read_bytes().splitlines())
    missing = [line for line in saved.read_bytes().splitlines() if line not in present]
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in missing))
