"""Who may start a server for whom, what callers see, whom they were shown, who is forgotten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from rasa_sdk import Tracker

from actions import audit, caller
from actions.audit import AuditLog, Quota, people_shown
from actions.caller import Caller, CallerDirectory
from actions.directory import Directory
from actions.query import Constraint, Query, Term
from bot.runtime import rasa_cli
from common import environment, protocol
from common.errors import UserError, describe
from tests.support import ROOT
from tests.support.action_server import PEOPLE


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read settings anew in each test, none of them from outside."""
    for name in (
        protocol.ANONYMOUS_SCOPES_VARIABLE,
        caller.VISIBILITY_VARIABLE,
        audit.AUDIT_VARIABLE,
        audit.AUDIT_DAYS_VARIABLE,
        audit.QUOTA_VARIABLE,
        environment.INTERFACE_VARIABLE,
        environment.PRODUCTION_VARIABLE,
        environment.ACTIONS_SECRET_VARIABLE,
    ):
        monkeypatch.delenv(name, raising=False)
    caller.visibility.cache_clear()
    audit.audit_log.cache_clear()
    audit.quota.cache_clear()
    yield
    caller.visibility.cache_clear()
    audit.audit_log.cache_clear()
    audit.quota.cache_clear()


# --- starting a server ------------------------------------------------------------------------


def start(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is expected to refuse; MOBILE_* and secrets as given alone."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("MOBILE_")
    }
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**inherited, **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["bot", "run", "--host", "0.0.0.0"], "MOBILE_JWKS"),
        (["bot.runtime.rasa_cli", "run", "--interface", "0.0.0.0"], "MOBILE_JWKS"),
        (["bot.runtime.rasa_cli", "run", "--interface=::"], "MOBILE_JWKS"),
        (["bot.runtime.rasa_cli", "run", "-i", "192.0.2.1"], "MOBILE_JWKS"),
        (["bot.runtime.rasa_cli", "run", "-i", "0.0.0.0", "--enable-api"], "BOT_API_TOKEN"),
        (["bot.runtime.rasa_cli", "run", "-i", "0.0.0.0", "--cors", "*"], "--cors"),
        (["bot.runtime.rasa_cli", "run", "-i", "0.0.0.0", "--connector", "rest"], "--connector"),
        (["actions.server", "--host", "0.0.0.0"], "ACTIONS_SECRET"),
        (["actions.server", "--host", "actions.example.com"], "ACTIONS_SECRET"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_no_server_starts_in_public_without_sign_in(arguments: list[str], advice: str) -> None:
    done = start(*arguments)
    assert done.returncode == 1
    assert advice in done.stderr
    assert "Traceback" not in done.stderr


def test_a_short_secret_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    done = start("actions.server", "--host", "0.0.0.0", ACTIONS_SECRET="secret")
    assert done.returncode == 1
    assert "16 characters" in done.stderr


def test_a_loopback_address_behind_a_proxy_is_public_when_told() -> None:
    for arguments in (["bot", "run"], ["bot.runtime.rasa_cli", "run"], ["actions.server"]):
        done = start(*arguments, BOT_PRODUCTION="1")
        assert done.returncode == 1
        assert "MOBILE_JWKS" in done.stderr or "ACTIONS_SECRET" in done.stderr


def test_wrong_settings_stop_the_action_server(tmp_path: Path) -> None:
    visibility = tmp_path / "visibility.yml"
    visibility.write_text("telephone: directory:phone")
    done = start("actions.server", DIRECTORY_VISIBILITY=str(visibility))
    assert done.returncode == 1
    assert "telephone is none of email, phone" in done.stderr
    done = start("actions.server", AUDIT_DAYS="ever")
    assert "AUDIT_DAYS must be a number" in done.stderr
    done = start("actions.server", PEOPLE_PER_DAY="many")
    assert "PEOPLE_PER_DAY must be a number" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--port", "1"], ["--inter", "0.0.0.0"]], ids=str)
def test_rasa_listens_on_the_loopback_interface_unless_told(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(environment.INTERFACE_VARIABLE, "0.0.0.0")
    # Last, so that it wins over what Rasa may take for the same option.
    assert rasa_cli.guard(arguments) == [*arguments, "--interface", "127.0.0.1"]
    assert environment.is_development()


def test_an_address_that_was_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.INTERFACE_VARIABLE, "")
    arguments = ["--interface", "localhost", "--enable-api"]
    assert rasa_cli.guard(arguments) == arguments


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("192.0.2.1", "192.0.2.1"),
        ("fe80::1", "[fe80::1]"),
    ],
)
def test_where_a_server_is_asked_whether_it_is_up(host: str, address: str) -> None:
    assert environment.probe_address(host) == address


# --- what callers see -------------------------------------------------------------------------


def caller_of(metadata: Any) -> Caller:
    message = {"text": "…", "metadata": metadata}
    return Caller.of(Tracker("me", {}, message, [], False, None, {}, None))


def test_the_caller_is_read_from_the_metadata() -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    caller = caller_of(
        {
            "caller": {"subject": "paul", "scopes": ["directory:phone", "x"]},
            "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01",
        }
    )
    assert caller == Caller("me", "paul", frozenset({"directory:phone", "x"}), trace_id)
    assert caller.hidden == ()


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        [],
        "caller",
        {"caller": None},
        {"caller": "paul"},
        {"caller": {"scopes": ["directory:phone"]}},
        {"caller": {"subject": 5, "scopes": ["directory:phone"]}},
        {"caller": {"subject": "paul", "scopes": "directory:phone"}},
        {"caller": {"subject": "paul", "scopes": {"directory:phone": 1}}},
        {"caller": {"subject": "paul", "scopes": ["*"]}},
    ],
    ids=str,
)
def test_malformed_metadata_grant_nothing(metadata: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.ACTIONS_SECRET_VARIABLE, "a secret of others")
    assert caller_of(metadata).hidden == ("phone",)


def test_anonymous_callers_see_all_where_the_server_answers_this_machine_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert caller_of(None).hidden == ()
    monkeypatch.setenv(environment.PRODUCTION_VARIABLE, "1")
    assert caller_of(None).hidden == ("phone",)


def test_anonymous_callers_see_what_the_server_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(protocol.ANONYMOUS_SCOPES_VARIABLE, "a directory:phone")
    assert caller_of(None).hidden == ()
    monkeypatch.setenv(protocol.ANONYMOUS_SCOPES_VARIABLE, "*")
    assert caller_of(None).hidden == ()
    # But somebody who has signed in has their own scopes.
    assert caller_of({"caller": {"subject": "paul", "scopes": []}}).hidden == ("phone",)


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Directory]:
    directory = Directory(f"sqlite:///{tmp_path / 'directory.db'}")
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    directory.import_(tmp_path / "people.csv")
    yield directory
    directory.close()


def test_fields_are_hidden_by_configuration(
    people: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visibility = tmp_path / "visibility.yml"
    visibility.write_text("{email: a, phone: b, available_from: a, biography: c}")
    monkeypatch.setenv(caller.VISIBILITY_VARIABLE, str(visibility))
    shown = CallerDirectory(people, Caller("me", "paul", frozenset({"b"})))
    java = Query((Constraint((Term("technology", "Java"),)),), limit=20)
    found = [
        shown.get("P1"),
        *shown.find_people("Paul Martin").matches,
        *shown.find_people("Pol Matrin").near,
        *(expert.collaborator for expert in shown.find(java).people),
    ]
    assert len(found) > 8
    for person in found:
        assert person is not None
        assert (person.email, person.available_from, person.biography) == (None, None, None)
        assert person.hidden == ("email", "available_from", "biography")
        assert person.skills or person.id in ("P8", "P11")
    assert found[0] is not None
    assert found[0].phone == "01 00 00 01"
    assert shown.find(java, within=["P1"]).people[0].levels == {"Java": 5}
    assert shown.count_by_agency(Query()) == people.count_by_agency(Query())
    assert shown.get("nobody") is None


def test_an_empty_configuration_hides_nothing(
    people: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "visibility.yml").write_text("")
    monkeypatch.setenv(caller.VISIBILITY_VARIABLE, str(tmp_path / "visibility.yml"))
    assert CallerDirectory(people, Caller("me")).get("P1") == people.get("P1")


@pytest.mark.parametrize("content", ["name: x", "phone: [x]", "- phone", "{", None])
def test_a_wrong_configuration_is_refused(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "visibility.yml"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(caller.VISIBILITY_VARIABLE, str(path))
    with pytest.raises(UserError, match=r"visibility\.yml"):
        caller.visibility()


# --- the audit log ----------------------------------------------------------------------------

PAUL = Caller("mobile-1", "paul", frozenset(), "trace")

APPEND = """
import sys
from pathlib import Path
from actions.audit import AuditLog
from actions.caller import Caller
log = AuditLog(Path(sys.argv[1]), 1)
for number in range(200):
    log.record(Caller(sys.argv[2], "x" * 500), "action", [str(number)])
"""


def test_several_processes_write_to_one_log(tmp_path: Path) -> None:
    def write(name: str) -> None:
        subprocess.run([sys.executable, "-c", APPEND, str(tmp_path), name], cwd=ROOT, check=True)

    names = ["one", "two", "three"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, names))
    (file,) = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for name in names:
        own = [line["people"] for line in lines if line["conversation"] == name]
        assert own == [[str(number)] for number in range(200)]


def test_a_day_has_a_file_and_old_ones_go(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit", days=2)
    log.record(PAUL, "action_who_is", ["P1"])
    today = datetime.now(timezone.utc).date()
    names = (f"{today - timedelta(days=age)}.jsonl" for age in (3, 2))
    old, recent, other = (tmp_path / "audit" / name for name in (*names, "notes.txt"))
    for path in (old, recent, other):
        path.touch()
    log._day = date(2020, 1, 1)  # the day has changed since the last line
    log.record(PAUL, "action_who_is", ["P2"])
    assert not old.exists()
    assert recent.exists()
    assert other.exists()
    written = (tmp_path / "audit" / f"{today.isoformat()}.jsonl").read_text().splitlines()
    assert [json.loads(line)["people"] for line in written] == [["P1"], ["P2"]]


def test_what_cannot_be_recorded_raises(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("no folder")
    with pytest.raises(OSError, match="audit"):
        AuditLog(tmp_path / "audit", 1).record(PAUL, "action_who_is", ["P1"])
    full = AuditLog(tmp_path, 1)
    full._day, full._file = datetime.now(timezone.utc).date(), os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space"):
        full.record(PAUL, "action_who_is", ["P1"])


def test_the_log_s_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = audit.audit_log()
    assert log is not None
    assert (log.folder, log.days) == (ROOT / "audit", 365)
    audit.audit_log.cache_clear()
    monkeypatch.setenv(audit.AUDIT_VARIABLE, audit.AUDIT_OFF)
    assert audit.audit_log() is None


@pytest.mark.parametrize("logged", [True, False])
def test_a_quota_is_of_a_user_and_a_day(tmp_path: Path, logged: bool) -> None:
    log = AuditLog(tmp_path, 1) if logged else None
    quota, anna = Quota(3, log), Caller("mobile-2", "anna")
    assert quota.admits(PAUL, ["P1", "P2"])
    assert quota.admits(PAUL, ["P2", "P3"])
    assert not quota.admits(PAUL, ["P4"])
    assert not quota.admits(PAUL, ["P1", "P4"])
    assert quota.admits(PAUL, ["P1"])
    assert quota.admits(anna, ["P4"])
    assert quota.admits(Caller("mobile-3"), ["P4"])  # by the conversation, without a subject
    quota._day = date(2020, 1, 1)  # the day has changed since
    assert quota.admits(PAUL, ["P4"])


def test_a_quota_knows_what_other_processes_have_shown(tmp_path: Path) -> None:
    log, other = AuditLog(tmp_path, 1), AuditLog(tmp_path, 1)
    quota = Quota(3, log)
    other.record(PAUL, "action_who_is", ["P1", "P2"])
    assert not quota.admits(PAUL, ["P3", "P4"])
    (file,) = tmp_path.iterdir()
    with file.open("a") as half:  # of a disk that was full, and of a line that is being written
        half.write('{"caller": "paul", "peo\n{"caller"')
    assert quota.admits(PAUL, ["P3"])
    with file.open("a") as rest:
        rest.write(': "anna", "conversation": "c", "people": ["P1", "P2", "P3"]}\n')
    assert not quota.admits(Caller("c", "anna"), ["P4"])
    assert not quota.admits(PAUL, ["P4"])


def test_people_in_cards_are_counted_once() -> None:
    person = {"id": "P1"}
    messages = [
        {"text": "…", "custom": {}},
        {"custom": None},
        {"custom": {"type": "person_card", "person": person}},
        {"custom": {"type": "person_choice", "people": [{"id": "P2"}, person]}},
        {"custom": {"type": "expert_list", "experts": [{"person": {"id": "P3"}, "levels": {}}]}},
    ]
    assert people_shown(messages) == ["P1", "P2", "P3"]


# --- forgetting -------------------------------------------------------------------------------


def test_a_directory_without_somebody_is_as_if_they_had_never_been_there(
    directory: Directory, tmp_path: Path
) -> None:
    everybody, others = tmp_path / "everybody.csv", tmp_path / "others.csv"
    everybody.write_text(PEOPLE, encoding="utf-8")
    kept = [line for line in PEOPLE.splitlines() if not line.startswith(("P5,", "P9,"))]
    others.write_text("\n".join(kept), encoding="utf-8")
    directory.import_(everybody)
    assert directory.forget("P5")
    assert directory.forget("P9")
    assert not directory.forget("P5")
    fresh = Directory(f"sqlite:///{tmp_path / 'fresh.db'}")
    fresh.import_(others)
    for question in ("Ben Salah", "Karim", "Chloé Bernard", "Bernard"):
        mine, expected = (d.find_people(question) for d in (directory, fresh))
        assert [p.id for p in mine.matches] == [p.id for p in expected.matches]
        assert [p.id for p in mine.near] == [p.id for p in expected.near]
    for skill in ("C++", "COBOL", "Java"):
        mine, expected = (d.find_experts(skill) for d in (directory, fresh))
        assert (mine.total, mine.related) == (expected.total, expected.related)
    assert directory.stats().people == fresh.stats().people
    assert directory.stats().agencies == fresh.stats().agencies
    fresh.close()


def test_nothing_of_somebody_is_left_in_the_file(people: Directory, tmp_path: Path) -> None:
    def files() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("directory.db*")).lower()

    # An earlier version of the row, whose bytes an update leaves in the file.
    changed = tmp_path / "changed.csv"
    changed.write_text(PEOPLE.replace("ines@example.com", "zeroual@example.org"), encoding="utf-8")
    people.import_(changed)
    assert b"zeroual" in files()
    people.forget("P3")
    for trace in ("zeroual", "ines@example.com", "01 00 00 00 03"):
        assert trace.encode() not in files()


# --- logs -------------------------------------------------------------------------------------


def test_an_error_is_described_without_its_message() -> None:
    typed = "".join(("Zébulon", " ", "Tartempion"))  # not in a line of this file
    try:
        try:
            raise ValueError(typed)
        except ValueError as error:
            raise RuntimeError(typed) from error
    except RuntimeError as error:
        described = describe(error)
    assert described.startswith("RuntimeError\n")
    assert "because of ValueError\n" in described
    assert "test_an_error_is_described" in described
    assert typed not in described
