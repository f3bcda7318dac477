"""`bot review`: from what was asked to examples in the dataset, without anybody's name."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook
from sqlalchemy import create_engine
from typer.testing import CliRunner

from actions.directory import Directory
from bot import dataset as datasets
from bot.channels.conversations import Conversations, events
from bot.cli import app
from bot.dataset import Dataset, Example
from bot.review import questions as asked_questions
from bot.review.anonymise import Anonymiser
from bot.review.memory import Memory
from bot.review.questions import collect
from bot.review.review import RefusedError, Review
from common import environment
from common.errors import UserError
from common.text import fold
from tests.support import HOST, ROOT
from tests.support.action_server import DOMAIN, start_action_server
from tests.support.mobile_server import MobileServer

PEOPLE = [("Maëlys", "Kerguelen"), ("Pierre", "Petit"), ("Jean-François", "Le Floc'h")]
NLU = """\
version: "3.1"

# A remark that is to stay.
nlu:
  # Who somebody is.
  - intent: WHO_IS
    examples: |
      - Qui est [Paul Martin](person) ?
      - c'est qui [le petit nouveau](person)
      - tu connais un petit bonhomme rose ?
  - intent: WHO_KNOWS_ABOUT
    examples: |
      - Qui connaît [Java](technology) ?
      - quelqu'un connait [Docker](technology) ?
  - intent: HOW_ARE_YOU
    examples: |
      - Bonjour
      - ça va ?
  - intent: OUT_OF_SCOPE
    examples: |
      - Quel temps fait-il demain ?
      - Raconte une blague
"""
TABLES = """\
version: "3.1"
nlu:
  - lookup: technology
    examples: |
      - Java
      - Docker
      - Julia
  - synonym: Docker
    examples: |
      - dockère
  - lookup: given_name
    examples: |
      - Pierre
      - Alice
      - Bruno
      - Julia
  - lookup: surname
    examples: |
      - Dupont
      - Lefèvre
"""
HELD_OUT = """\
version: "3.1"
nlu:
  - intent: WHO_IS
    examples: |
      - Et donc, qui serait [Anna Roux](person) ?
"""
INTENTS = ["HOW_ARE_YOU", "OUT_OF_SCOPE", "WHO_IS", "WHO_KNOWS_ABOUT"]


def key_of(intent: str) -> str:
    """The key that labels a question with an intent of the domain: they are numbered by name."""
    return str(1 + sorted(datasets.read_labels(ROOT / "domain.yml").intents).index(intent))


def entity(text: str, part: str, kind: str) -> dict[str, Any]:
    start = text.index(part)
    return {"entity": kind, "start": start, "end": start + len(part), "value": part}


@pytest.fixture(scope="module")
def anonymise() -> Anonymiser:
    examples, problems = datasets.parse_yaml(NLU)
    tables, more = datasets.parse_yaml(TABLES)
    assert problems == more == []
    given, surnames = tables.lookups.pop("given_name"), tables.lookups.pop("surname")
    return Anonymiser(PEOPLE, examples, given, surnames, tables)


# --- anonymised -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Qui est Maëlys Kerguelen ?", "qui est <person>"),
        ("ki est maelis kergelen", "ki est <person>"),  # misspelt, and not found by the bot
        ("QUI EST KERGUELEN", "qui est <person>"),
        ("le mail de Jean-François Le Floc'h stp", "le mail de <person> stp"),
        ("tu connais Pierre Petit ?", "tu connais <person>"),  # an everyday word beside a name
        ("un petit rose", "un petit rose"),
        ("d'Alice ou Petit", "d'<person> ou <person>"),
        ("qui connaît dockère et Java", "qui connait dockere et java"),
        ("écris à m.kerguelen+x@corp.example.fr", "ecris a <mail>"),
        ("appelle le 06 12 34 56 78 ou +33612345678", "appelle le <phone> ou <phone>"),
        ("dossier 20261124", "dossier <phone>"),
        ("matricule 123456", "matricule <number>"),
        ("Java 17 depuis 2019", "java 17 depuis 2019"),
        ("voir https://intra.example.com/people?id=C0012 merci", "voir <web> merci"),
    ],
)
def test_personal_data_are_replaced(anonymise: Anonymiser, text: str, pattern: str) -> None:
    message = anonymise(text)
    assert message.pattern == pattern
    if message.pattern != datasets.folded(text):
        assert message.text != text
    assert anonymise(message.text).pattern == pattern or "<number>" in pattern


def test_what_the_bot_took_for_a_name_is_one(anonymise: Anonymiser) -> None:
    text = "c'est qui zebulon tartempion en Java ?"
    found = [entity(text, "zebulon tartempion", "person"), entity(text, "Java", "technology")]
    message = anonymise(text, found)
    spans = {e.entity: message.text[e.start : e.end] for e in message.entities}
    assert spans["technology"] == "Java"
    assert spans["person"] in (
        "alice dupont",
        "bruno dupont",
        "alice lefevre",
        "bruno lefevre",
    ) or (spans["person"].split()[0] in ("alice", "bruno", "julia"))
    assert "zebulon" not in message.text
    assert message.text.endswith(" en Java ?")
    assert datasets.annotate(Example(message.text, "WHO_IS", message.entities)).count("](") == 2


def test_a_technology_that_is_also_a_name(anonymise: Anonymiser) -> None:
    text = "qui s'y connaît en Julia ?"
    (kept,) = anonymise(text, [entity(text, "Julia", "technology")]).entities
    assert kept.entity == "technology"
    text = "qui s'y connaît en Kerguelen ?"  # a colleague, whatever the bot made of it
    (replaced,) = anonymise(text, [entity(text, "Kerguelen", "technology")]).entities
    assert replaced.entity == "person"


def test_the_invented_name_tells_nothing_of_the_real_one(anonymise: Anonymiser) -> None:
    names = ["Maëlys Kerguelen", "Pierre Petit", "Alice Dupont"]
    invented = {fold(anonymise(f"Qui est {name} ?").text) for name in names}
    assert len(invented) == 1


def test_odd_characters(anonymise: Anonymiser) -> None:
    text = "qui  est [Mae\u0308lys]\n{Kerguelen}\u0007 ?"  # decomposed, brackets, several lines
    message = anonymise(text, [entity(text, "Mae\u0308lys", "person")])
    assert re.fullmatch(r"qui est \(\w+\) \(\w+\) \?", message.text)
    example = Example(message.text, "WHO_IS", message.entities)
    assert not any(problem.is_error for problem in datasets.validate(Dataset([example])))
    assert anonymise("", ()).text == ""


# --- collected --------------------------------------------------------------------------------


def turn(
    text: str, confidence: float, said: str, *found: dict[str, Any], intent: str = "WHO_IS"
) -> list[dict[str, Any]]:
    """Return the events of a turn as Rasa stores them."""
    ranking = [{"name": intent, "confidence": confidence}]
    if confidence < 0.6:
        ranking.insert(0, {"name": "nlu_fallback", "confidence": 0.6})
    parsed = {"intent": ranking[0], "intent_ranking": ranking, "entities": list(found)}
    now = time.time()
    return [
        {"event": "user", "text": text, "parse_data": parsed, "timestamp": now},
        {"event": "action", "name": "action_who_is", "timestamp": now},
        {"event": "bot", "text": "…", "metadata": {"utter_action": said}, "timestamp": now},
    ]


TURNS = [
    turn("ki es Maëlys Kerguelen", 0.41, "utter_fallback"),
    turn("Ki es Pierre Petit ?", 0.52, "utter_fallback"),
    turn("kelkun maîtrise le terraforming ici", 0.7, "utter_no_expert", intent="WHO_KNOWS_ABOUT"),
    turn("kelkun maitrise le teraforming ici", 0.75, "utter_no_expert", intent="WHO_KNOWS_ABOUT"),
    turn("Qui est Zzyzx ?", 0.99, "utter_person_unknown"),
    turn("Et donc, qui serait Alice Dupont ?", 0.5, "utter_fallback"),
    turn("merci", 0.97, "utter_out_of_scope", intent="OUT_OF_SCOPE"),
    turn("Qui est Pierre Petit ?", 0.98, "utter_person_card"),
    turn("/WHO_IS", 0.1, "utter_ask_person"),
    turn("qui c'est", 0.1, "utter_unavailable"),
    turn("x" * 400, 0.1, "utter_fallback"),
]


def test_what_is_worth_a_look(anonymise: Anonymiser) -> None:
    found = collect(TURNS, anonymise)
    assert [(one.pattern, one.count) for one in found] == [
        ("ki es <person>", 2),
        ("kelkun maitrise le terraforming ici", 2),  # with a typo less it is the same
        ("et donc qui serait <person>", 1),
        ("qui est zzyzx", 1),
    ]
    first, second, _, last = found
    assert first.reasons == {"not understood": 2, "unsure": 2}
    assert first.guesses == (("WHO_IS", 0.41),)  # where it was least sure; no nlu_fallback
    assert len(second.variants) == 1
    assert last.reasons == {"nobody found": 1}
    assert "Maëlys" not in str(found)
    assert "Petit" not in str(found)


def test_what_it_was_sure_to_be_off_topic_comes_on_demand(anonymise: Anonymiser) -> None:
    patterns = [one.pattern for one in collect(TURNS, anonymise, refused=True)]
    assert "merci" in patterns
    assert [one.pattern for one in collect(TURNS, anonymise, below=0.0)].count("qui c'est") == 0


def test_the_reasons_are_responses_of_the_domain() -> None:
    named = {response for responses in asked_questions.REASONS.values() for response in responses}
    named |= {*asked_questions.REFUSALS, *asked_questions.UNAVAILABLE}
    assert named <= set(DOMAIN["responses"])


# --- decided ----------------------------------------------------------------------------------


@dataclass
class World:
    """A project of its own: dataset, directory, conversations."""

    folder: Path
    directory: str

    @property
    def nlu(self) -> Path:
        return self.folder / "data" / "nlu.yml"

    @property
    def memory(self) -> Path:
        return self.folder / "data" / "reviewed.json"

    @property
    def arguments(self) -> list[str]:
        return [
            "review",
            *("--endpoints", str(self.folder / "endpoints.yml")),
            *("--dataset", str(self.nlu)),
            *("--memory", str(self.memory)),
            *("--held-out", str(self.folder / "heldout.yml")),
            *("--domain", str(ROOT / "domain.yml")),
        ]

    def run(self, *more: str, keys: str = "") -> str:
        """Run `bot review` on input that is no terminal."""
        outcome = CliRunner().invoke(
            app,
            [*self.arguments, *more],
            input=keys,
            env={"DIRECTORY_URL": self.directory, "COLUMNS": "150"},
        )
        if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
            raise outcome.exception
        return outcome.output

    def examples(self) -> list[Example]:
        return datasets.read(self.nlu).examples

    def store(self, turns: list[list[dict[str, Any]]], url: str) -> None:
        engine = create_engine(url)
        events.metadata.create_all(engine)
        rows = [
            {
                "sender_id": f"mobile-{number % 3}",
                "type_name": event["event"],
                "timestamp": event["timestamp"],
                "data": json.dumps(event),
            }
            for number, events_of_turn in enumerate(turns)
            for event in events_of_turn
        ]
        with engine.begin() as connection:
            connection.execute(events.insert(), rows)
        engine.dispose()
        endpoints = {"tracker_store": {"type": "SQL", "url": url}}
        (self.folder / "endpoints.yml").write_text(json.dumps(endpoints), encoding="utf-8")


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nlu.yml").write_text(NLU, encoding="utf-8")
    (tmp_path / "data" / "lookups.yml").write_text(TABLES, encoding="utf-8")
    (tmp_path / "heldout.yml").write_text(HELD_OUT, encoding="utf-8")
    mirror = datasets.to_json(datasets.parse_yaml(NLU)[0])
    (tmp_path / "data" / "dataset.json").write_text(mirror, encoding="utf-8")
    people = tmp_path / "people.csv"
    rows = [
        f"P{number},{first},{last},Nantes,Dev,,," for number, (first, last) in enumerate(PEOPLE)
    ]
    head = "id,first_name,last_name,agency,job_title,email,phone,skills"
    people.write_text("\n".join([head, *rows]), encoding="utf-8")
    url = f"sqlite:///{tmp_path / 'directory.db'}"
    directory = Directory(url)
    directory.import_(people)
    directory.close()
    world = World(tmp_path, url)
    world.store(TURNS, f"sqlite:///{tmp_path / 'events.db'}")
    return world


def session(world: World) -> Review:
    labels = datasets.Labels(frozenset(INTENTS), frozenset({"person", "technology"}))
    dataset = datasets.read(world.nlu)
    held_out = datasets.read(world.folder / "heldout.yml").examples
    return Review(world.nlu, dataset, labels, Memory(world.memory), held_out)


@pytest.mark.parametrize(
    ("text", "intent", "words"),
    [
        ("Et donc qui serait [Anna Roux](person)", "WHO_IS", "held-out set"),
        ("BONJOUR !", "WHO_IS", "is HOW_ARE_YOU on line"),
        ("Qui est [Zoé](persone) ?", "WHO_IS", "did you mean person?"),
        ("Qui ?", "WHO_S", "did you mean WHO_IS?"),
        (" ", "WHO_IS", "empty"),
    ],
)
def test_what_must_not_come_into_the_dataset(
    world: World, text: str, intent: str, words: str
) -> None:
    review = session(world)
    with pytest.raises(RefusedError, match=re.escape(words)):
        review.label("k", datasets.annotated(text, intent))
    assert review.finish() == 0
    assert world.nlu.read_text(encoding="utf-8") == NLU


def test_decisions_outlive_the_session_and_the_dataset_keeps_its_remarks(world: World) -> None:
    first = session(world)
    assert first.label("a", datasets.annotated("ki es [alix](person)", "WHO_IS"))
    assert not first.label("b", datasets.annotated("bonjour !", "HOW_ARE_YOU"))  # known
    assert first.label("c", datasets.annotated("[c++](technology) ?", "WHO_KNOWS_ABOUT"))
    assert first.undo() is not None
    first.drop("d")
    # The terminal is closed here, before `finish`.
    second = session(world)
    assert second.memory.reviewed == {"a": "WHO_IS", "b": "HOW_ARE_YOU", "d": "dropped"}
    with pytest.raises(RefusedError, match="WHO_IS just now"):
        second.label("e", datasets.annotated("Ki es Alix ?", "OUT_OF_SCOPE"))
    assert second.finish() == 1
    text = world.nlu.read_text(encoding="utf-8")
    assert text.startswith(NLU)
    assert re.fullmatch(
        r"\n  # Asked in conversations; `bot review`, \d{4}-\d\d-\d\d\.\n"
        r"  - intent: WHO_IS\n    examples: \|\n      - ki es \[alix\]\(person\)\n",
        text[len(NLU) :],
    )
    mirror = (world.folder / "data" / "dataset.json").read_text(encoding="utf-8")
    assert mirror == datasets.to_json(datasets.read(world.nlu))
    assert session(world).finish() == 0
    stored = world.memory.read_text(encoding="utf-8")
    assert "alix" not in stored  # once it is in the dataset, nothing of the words is left here


def test_a_json_dataset(world: World) -> None:
    world_json = world.folder / "data" / "dataset.json"
    dataset = datasets.read(world_json)
    datasets.append(world_json, [Example("coucou toi", "HOW_ARE_YOU")], "unused")
    assert datasets.read(world_json).examples == [
        *dataset.examples,
        Example("coucou toi", "HOW_ARE_YOU"),
    ]


def test_a_dataset_with_something_after_its_examples_stays_as_it_is(world: World) -> None:
    text = "nlu:\n- intent: A\n  examples: |\n    - a\nversion: '3.1'\n"
    world.nlu.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="cannot be added at its end"):
        datasets.append(world.nlu, [Example("b", "A")], "…")
    assert world.nlu.read_text(encoding="utf-8") == text


def test_a_memory_that_is_damaged(world: World) -> None:
    for content in ("{", "[]", '{"version": 2}', '{"version": 1, "reviewed": []}'):
        world.memory.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=re.escape(str(world.memory))):
            Memory(world.memory)


# --- as commands ------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def stored(request: pytest.FixtureRequest, world: World) -> World:
    """The world on each engine."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        world.store(TURNS, str(server.emptied_database()))
    return world


def test_list(stored: World) -> None:
    printed = stored.run("--list")
    assert "1 of the held-out set are left out" in printed
    assert re.search(r"2 +│ not understood, unsure +│ WHO_IS 41% +│ ki es \[\w+ \w+\]", printed)
    assert "Kerguelen" not in printed
    assert "mobile-" not in printed
    assert not stored.memory.exists()


def test_only_lately(world: World) -> None:
    old = [[{**event, "timestamp": 1.0} for event in one] for one in TURNS]
    world.store(old, f"sqlite:///{world.folder / 'old.db'}")
    assert "nothing to review" in world.run("--list", "--days", "1")
    assert "ki es" in world.run("--list")
    engine = create_engine(f"sqlite:///{world.folder / 'old.db'}")
    assert len(list(Conversations(engine).turns())) == len(TURNS)


def test_labelled_on_lines(world: World) -> None:
    other, right = key_of("WHO_KNOWS_ABOUT"), key_of("WHO_IS")
    wrong_text = "kelkun maîtrise [terraform]{x}"
    keys = ["?", "x", "", "u", other, "u", right, "e", wrong_text, "d", "s", "q"]
    printed = world.run(keys="".join(f"{key}\n" for key in keys))
    assert "'x' is no key here" in printed
    assert printed.count("taken back") == 2
    assert "wrong entity annotation" in printed
    assert "1 examples added" in printed
    (added,) = world.examples()[len(datasets.parse_yaml(NLU)[0].examples) :]
    assert (added.intent, added.entities[0].entity) == ("WHO_IS", "person")
    again = world.run("--list")
    assert "zzyzx" in again.lower()  # skipped
    assert "terraforming" not in again
    assert "ki es" not in again


def test_without_the_directory_nothing_is_shown(world: World) -> None:
    Directory(f"sqlite:///{world.folder / 'empty.db'}").import_(world.folder / "people.csv")
    world.directory = "postgresql://nobody@127.0.0.1:1/none"
    with pytest.raises(UserError, match="names would be shown"):
        world.run("--list")


def test_a_sheet_for_others(world: World) -> None:
    sheet = world.folder / "questions.csv"
    formula = turn("=HYPERLINK(1)", 0.1, "utter_fallback")
    world.store([*TURNS, formula], f"sqlite:///{world.folder / 'more.db'}")
    assert "4 questions" in world.run("--export", str(sheet))
    lines = sheet.read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "key,asked,why,guess,confidence,text,intent"
    assert any("'=HYPERLINK" in line for line in lines)

    filled = [
        line + ("WHO_IS" if "ki es" in line else "drop" if "HYPERLINK" in line else "")
        for line in lines
    ]
    sheet.write_text("\n".join([filled[0], *filled[1:]]), encoding="utf-8")
    wrong = [line.replace("](person)", "](persone)") for line in filled]
    (world.folder / "wrong.csv").write_text("\n".join(wrong), encoding="utf-8")
    with pytest.raises(UserError, match=r"wrong.csv:2: .*did you mean person") as caught:
        world.run("--import", str(world.folder / "wrong.csv"))
    assert "Nothing was taken over" in str(caught.value)
    assert world.nlu.read_text(encoding="utf-8") == NLU

    assert "1 examples added" in world.run("--import", str(sheet))
    assert world.examples()[-1].text.startswith("ki es ")
    left = world.run("--list")
    assert "HYPERLINK" not in left
    assert "zzyzx" in left.lower()
    # As spreadsheets save it: on Windows in French, on a Mac, as a workbook.
    text = sheet.read_text(encoding="utf-8")
    saved = {
        "french.csv": ("sep=;\r\n" + text.replace(",", ";") + ";;;;\r\n").encode("cp1252"),
        "mac.csv": text.replace("\n", "\r").encode("mac_roman"),
        "odd.csv": text.replace("ki es", "ki\u200b es").encode(),
    }
    for name, content in saved.items():
        (world.folder / name).write_bytes(content)
    book = Workbook()
    for line in csv.reader(text.splitlines()):
        book.active.append(line)
    book.save(world.folder / "sheet.xlsx")
    for name in (*saved, "sheet.xlsx"):
        assert "1 were there" in world.run("--import", str(world.folder / name)), name


# --- in a terminal ----------------------------------------------------------------------------


class Terminal:
    """`bot review` as it runs in a terminal window."""

    def __init__(self, world: World) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bot", *world.arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env={
                **os.environ,
                "DIRECTORY_URL": world.directory,
                "TERM": "xterm",
                "COLUMNS": "120",
                "PROMPT_TOOLKIT_NO_CPR": "1",
            },
            start_new_session=True,
            # Its controlling terminal, so that Ctrl-C is a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.seen = ""

    def expect(self, text: str) -> None:
        """Wait until ``text`` is on the screen, beyond what was waited for before."""
        deadline = time.monotonic() + 300
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.master], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:  # the process has ended
                    assert text in self.seen, self.seen
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        os.close(self.master)


def test_asked_reviewed_trained_on(
    rules_model: str,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A question that the real bot does not understand becomes an example of a valid dataset."""
    monkeypatch.setenv(environment.INTERFACE_VARIABLE, HOST)
    store = world.folder / "asked.db"
    servers = start_action_server(world.directory, world.folder)
    actions = next(servers)
    settings = {"requests_per_minute": 100_000, "burst": 100_000}
    port = int(actions.url.rpartition(":")[2])
    with MobileServer(rules_model, settings, port, store) as server:
        for name in ("Maëlys Kerguelen", "pierre petit"):
            server.user(name[:1]).say(f"ki ke {name}, tu sé ?")
        server.user().say("blabla")
    servers.close()
    endpoints = {"tracker_store": {"type": "SQL", "dialect": "sqlite", "db": str(store)}}
    (world.folder / "endpoints.yml").write_text(json.dumps(endpoints), encoding="utf-8")

    terminal = Terminal(world)
    try:
        terminal.expect("asked 2 times")
        terminal.press("e")
        terminal.expect("text:")
        terminal.press("\x01\x0bki ke [bruno](person), tu sé ?\r")
        terminal.expect("\x1b[1m  ki ke [bruno](person), tu sé ?")  # said again: it is accepted
        terminal.press(key_of("WHO_IS"))
        terminal.expect("→ WHO_IS")
        terminal.expect("asked once")
        terminal.press("u")
        terminal.expect("taken back")
        terminal.expect("asked 2 times")
        terminal.press(key_of("WHO_IS"))  # as it was proposed, not as it was edited
        terminal.expect("→ WHO_IS")
        terminal.expect("asked once")
        terminal.press("\x03")
        terminal.expect("1 examples added")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.close()

    added = world.examples()[-1]
    assert re.fullmatch(r"ki ke \S+ \S+, tu sé \?", added.text)
    assert [e.entity for e in added.entities] == ["person"]
    checked = CliRunner().invoke(
        app, ["dataset", "validate", str(world.nlu), "--domain", str(ROOT / "domain.yml")]
    )
    assert "0 errors" in checked.output
    assert "blabla" in world.run("--list")
