"""What is backed up comes back: on both engines, and while users talk."""

from __future__ import annotations

import json
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from actions import audit, caller
from actions.directory import Directory
from bot import backup, rasa_model
from bot.cli.backup import _parts
from common.errors import UserError
from tests.support.action_server import PEOPLE, fill
from tests.support.postgres import PostgresServer
from tests.support.production_servers import Servers
from tests.support.tracker_store import Store

CARD = '/WHO_IS{"collaborator_id": "P3"}'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Give a function that has directory, conversations and audit log in a folder, models too."""
    audit.audit_log.cache_clear()

    def use(directory: str, conversations: str, folder: Path = tmp_path) -> Path:
        monkeypatch.setenv("DIRECTORY_URL", directory)
        monkeypatch.setenv("AUDIT_LOG", str(folder / "audit"))
        monkeypatch.setattr(rasa_model, "MODELS", tmp_path / "models")
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "bot.tar.gz").write_bytes(b"model")
        (tmp_path / "models" / "bot.json").write_bytes(b"{}")
        endpoints = tmp_path / "endpoints.yml"
        store = f"{{type: SQL, url: '{conversations}'}}"
        endpoints.write_text(f"tracker_store: {store}\n", encoding="utf-8")
        return endpoints

    yield use
    audit.audit_log.cache_clear()


def test_all_of_it_comes_back(
    directory_url: str,
    place: Callable[[str, str], Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Directory and conversations each by itself; on PostgreSQL they are in one database."""
    if directory_url.startswith("postgresql"):
        postgresql: PostgresServer = request.getfixturevalue("postgresql_server")
        monkeypatch.setenv("PATH", str(postgresql.server.bin_path))
    conversations = directory_url.replace("directory.db", "events.db")
    endpoints, archive = place(directory_url, conversations), tmp_path / "backup.tar"
    fill(directory_url, tmp_path)
    directory, store = Directory(), Store(conversations)
    store.say("me", "avant", {"text": "…"})
    log = audit.audit_log()
    assert log is not None
    log.record(caller.Caller("me"), "action_who_is", ["P1"])
    written = backup.backup(archive, backup.PARTS, endpoints, {})
    assert set(written) >= {"models/bot.tar.gz", "models/bot.json"}
    assert archive.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UserError, match="is there already"):
        backup.backup(archive, backup.PARTS, endpoints, {})

    directory.forget("P3")
    store.say("me", "après", {"text": "…"})
    (tmp_path / "models" / "bot.tar.gz").write_bytes(b"another model")
    log.record(caller.Caller("me"), "action_who_is", ["P2"])
    backup.restore(archive, ["directory"], endpoints, {})
    assert directory.get("P3") is not None
    assert store.texts("me") == ["avant", "après"]
    backup.restore(archive, ["conversations"], endpoints, {})
    assert store.texts("me") == ["avant"]
    store.say("me", "encore", {"text": "…"})
    assert store.texts("me") == ["avant", "encore"]
    assert (tmp_path / "models" / "bot.tar.gz").read_bytes() == b"another model"
    backup.restore(archive, ["models", "audit"], endpoints, {})
    assert (tmp_path / "models" / "bot.tar.gz").read_bytes() == b"model"
    (file,) = log.folder.iterdir()  # nothing is taken out of it
    assert [json.loads(line)["people"] for line in file.read_text().splitlines()] == [
        ["P1"],
        ["P2"],
    ]
    file.unlink()
    backup.restore(archive, ["audit"], endpoints, {})
    assert [json.loads(line)["people"][0] for line in file.open()] == ["P1"]
    directory.close()
    store.rasa.engine.dispose()


def test_a_damaged_archive_changes_nothing(
    place: Callable[[str, str], Path], tmp_path: Path
) -> None:
    url, archive = f"sqlite:///{tmp_path / 'directory.db'}", tmp_path / "backup.tar"
    endpoints = place(url, f"sqlite:///{tmp_path / 'events.db'}")
    fill(url, tmp_path)
    backup.backup(archive, backup.PARTS, endpoints, {})  # without conversations, none so far
    directory = Directory()
    directory.forget("P3")
    whole = archive.read_bytes()
    position = whole.index(b"Zeroual")
    for wrong in (
        b"",
        b"no archive",
        whole[: len(whole) // 2],
        whole[:position] + b"X" + whole[position + 1 :],
    ):
        archive.write_bytes(wrong)
        with pytest.raises(UserError, match=r"damaged|no backup"):
            backup.restore(archive, backup.PARTS, endpoints, {})
        assert directory.get("P3") is None
    # Nor is anything written elsewhere.
    with tarfile.open(archive, "w") as tar:
        path = tmp_path / backup.MANIFEST
        path.write_text(json.dumps({"audit/../../evil": "0"}))
        tar.add(path, backup.MANIFEST)
    with pytest.raises(UserError, match="evil"):
        backup.restore(archive, backup.PARTS, endpoints, {})
    with pytest.raises(UserError, match="--only takes one of"):
        _parts(["people"])
    directory.close()


def test_users_talk_meanwhile(
    rules_model: str,
    place: Callable[[str, str, Path], Path],
    tmp_path: Path,
) -> None:
    """Each message is answered in the end; what was said and known is that of one moment."""
    folder, archive = tmp_path / "servers", tmp_path / "backup.tar"
    folder.mkdir()
    with Servers(rules_model, folder).running() as servers:
        place(servers.environ["DIRECTORY_URL"], "unused", folder)
        endpoints, done = servers.endpoints, threading.Event()
        said: dict[str, list[str]] = {"marie": [], "jean": []}

        def talk(subject: str) -> None:
            user = servers.user(subject)
            while not done.is_set():
                key = uuid.uuid4().hex
                while True:
                    message = {"type": "postback", "payload": CARD}
                    response = user.post(message, idempotency_key=key)
                    if response.status_code != 503:
                        break
                    time.sleep(0.1)
                said[subject].append(user.turn(response)["id"])

        def wait_for(turns: int) -> None:
            goal = {subject: len(ids) + turns for subject, ids in said.items()}
            while any(len(said[subject]) < number for subject, number in goal.items()):
                assert all(one.is_alive() for one in threads)
                time.sleep(0.05)

        threads = [threading.Thread(target=talk, args=[subject]) for subject in said]
        for thread in threads:
            thread.start()
        try:
            wait_for(5)
            before = {subject: len(ids) for subject, ids in said.items()}
            backup.backup(archive, backup.PARTS, endpoints, {})
            after = {subject: len(ids) for subject, ids in said.items()}
            wait_for(5)
            directory = Directory()
            (tmp_path / "changed.csv").write_text(PEOPLE.replace("Inès", "Agnès"), encoding="utf-8")
            directory.import_(tmp_path / "changed.csv")
            wait_for(2)
            late = {subject: len(ids) for subject, ids in said.items()}
            backup.restore(archive, backup.PARTS, endpoints, {})
            wait_for(5)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        for subject, ids in said.items():
            kept = [turn["id"] for turn in servers.user(subject).history(limit=50)["turns"]]
            pairs = enumerate(zip(kept, ids, strict=False))
            first = next(number for number, (one, other) in pairs if one != other)
            assert before[subject] <= first <= after[subject] + 1
            later = kept[first:]
            assert later == ids[-len(later) :]  # and from there on, each once
            assert len(ids) - len(later) >= late[subject]
        text = servers.user().tap(CARD)["replies"][0]["text"]
        assert "Inès" in text
        assert httpx.get(f"{servers.url}/ready").status_code == 200
        shown = [line for line in servers.audit() if line["caller"] in said]
        assert len(shown) >= sum(map(len, said.values()))
        directory.close()
