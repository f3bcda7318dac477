"""Builds three directories of other companies and asks the bot for all people and skills in them.

``python -m benchmarks.directories`` (``--postgresql`` on a server that it starts itself, ``--list``
prints what was not found). The model of the project answers, the actions run in this process. Of
each question: *found* (the very people, no others), *offered* (among what the bot proposes),
*lost*, or *wrong* (others given as certain, a « non » that is false).
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from rich.console import Console
from rich.table import Table

from actions.directory import Directory
from actions.directory.files import COLUMNS
from bot.dialogues import Answer, Talk, in_process
from common.text import fold

MODEL = Path(__file__).resolve().parents[2] / "models/bot.tar.gz"
PEOPLE = 160
AGENCIES = ("Nancy", "Metz", "Dijon")
TITLES = ("Conducteur de travaux", "Chargée d'affaires", "Technicien", "Ingénieure d'études")

SKILL_FORMS = ("qui connaît {} ?", "on a quelqu'un en {}", "qui maîtrise {}")
NAME_FORMS = ("qui est {first} {last}", "c'est qui {LAST} {First}", "le mail de {first} {last}",
              "tu connais {last} {first} ?")  # fmt: skip
OUTCOMES = ("found", "offered", "lost", "wrong")


@dataclass(frozen=True)
class Asked:
    """A question, the ids of those whom the answer must show, and of those who may come after."""

    kind: str
    text: str
    expected: frozenset[str]
    also: frozenset[str] = frozenset()


def outcome(answer: Answer, expected: frozenset[str], also: frozenset[str]) -> str:
    """Judge an answer by the people that it shows, and their number."""
    certain: set[str] = set()
    total = 0
    offered: set[str] = set()
    for card in answer.cards:
        rows = {row["person"]["id"] for row in card.get("experts", ())}
        total = max(total, card.get("total", 0)) if rows else total
        certain |= rows
        if card["type"] == "person_choice":
            people = {person["id"] for person in card["people"]}
            # Namesakes are those asked for; who is merely near is an offer.
            certain, offered = (
                (certain | people, offered)
                if card["reason"] == "namesakes"
                else (certain, offered | people)
            )
        elif card.get("person"):
            certain.add(card["person"]["id"])
    if certain:
        right = certain <= expected | also and bool(certain & expected)
        shown = max(total, len(certain))
        return "found" if right and len(expected) <= shown <= len(expected | also) else "wrong"
    return "offered" if offered & expected else "lost"


def skill_outcome(answer: Answer, knows: bool) -> str:
    """Judge the answer to « X connaît-il … ? »."""
    checks = [card for card in answer.cards if card["type"] == "skill_check"]
    if not checks:
        return "lost"
    return "found" if all((card["level"] is not None) is knows for card in checks) else "wrong"


# --- the companies --------------------------------------------------------------------------------


def names(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """First and last names, each last name once before any comes again."""
    last = [name.replace("_", " ") for name in data["surnames"].split()]
    first = data["first_names"].split()
    chance = random.Random(3)
    return [(chance.choice(first), last[number % len(last)]) for number in range(PEOPLE)]


def company(skills: Sequence[str], people: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Rows of a directory: every skill has one to four holders."""
    chance = random.Random(5)
    rows = [
        {
            "id": f"E{number:04}",
            "first_name": first,
            "last_name": last,
            "agency": AGENCIES[number % len(AGENCIES)],
            "job_title": TITLES[number % len(TITLES)],
            "email": f"e{number}@example.com",
            "phone": "",
            "skills": "",
        }
        for number, (first, last) in enumerate(people)
    ]
    held: dict[int, list[str]] = {}
    for skill in skills:
        for number in chance.sample(range(len(rows)), chance.randint(1, 4)):
            held.setdefault(number, []).append(f"{skill}:{chance.randint(1, 5)}")
    for number, found in held.items():
        rows[number]["skills"] = ";".join(found)
    return rows


def holders(rows: Sequence[Mapping[str, str]], skills: set[str]) -> frozenset[str]:
    """Ids of those who have one of ``skills``."""
    return frozenset(
        row["id"]
        for row in rows
        if skills & {item.rpartition(":")[0] for item in row["skills"].split(";")}
    )


def skill_questions(
    rows: Sequence[Mapping[str, str]], spellings: Mapping[str, Sequence[str]]
) -> Iterator[Asked]:
    """Each skill by every name that people have for it, in turn in the forms of a question."""
    meant: dict[str, set[str]] = {}
    for skill, others in spellings.items():
        for name in (skill, *others):
            meant.setdefault(fold(name), set()).add(skill)
    # A version counts for its base, and a part for the whole, whatever line they stand on.
    number = 0
    for skill, others in spellings.items():
        for name in (skill, *others):
            for form in SKILL_FORMS:
                number += 1
                typed = name if number % 2 else fold(name)
                kind = "skill, as written" if name == skill else "skill, by another name"
                # Who has another version comes after those who have the one asked for.
                also = {one for other in others for one in meant[fold(other)]}
                expected, others_too = (holders(rows, some) for some in (meant[fold(name)], also))
                yield Asked(kind, form.format(typed), expected, others_too)


def name_questions(rows: Sequence[Mapping[str, str]]) -> Iterator[Asked]:
    """Everybody in every form, without capitals and accents."""
    same: dict[str, set[str]] = {}
    for row in rows:
        same.setdefault(fold(row["first_name"] + row["last_name"]), set()).add(row["id"])
    for row in rows:
        first, last = row["first_name"], row["last_name"]
        expected = frozenset(same[fold(first + last)])
        for form in NAME_FORMS:
            text = form.format(first=fold(first), last=fold(last), First=first, LAST=last.upper())
            yield Asked(f"name, « {form} »", text, expected)


# --- asking ---------------------------------------------------------------------------------------


@contextmanager
def databases(folder: Path, postgresql: bool) -> Iterator[Any]:
    """Gives the URL of a new database for a name."""
    from benchmarks.directory import _databases

    with _databases(folder, postgresql) as database:
        yield database


async def ask(talk: Talk, asked: Sequence[Asked], missed: list[str]) -> Counter[tuple[str, str]]:
    """Ask each question in a conversation of its own; count by kind and outcome."""
    counts: Counter[tuple[str, str]] = Counter()
    for question in asked:
        answer = await talk(question.text, question.text)
        result = outcome(answer, question.expected, question.also)
        counts[question.kind, result] += 1
        if result != "found":
            missed.append(f"{result}: {question.text} → {answer.text.splitlines()[:1]}")
    return counts


async def ask_checks(
    talk: Talk, rows: Sequence[Mapping[str, str]], spellings: Mapping[str, Sequence[str]],
    missed: list[str],
) -> Counter[tuple[str, str]]:  # fmt: skip
    """« Untel connaît-il … ? » of a holder of each skill, by every name."""
    counts: Counter[tuple[str, str]] = Counter()
    for skill, others in spellings.items():
        holder = min(holders(rows, {skill}))
        row = next(row for row in rows if row["id"] == holder)
        for name in (skill, *others):
            text = f"est-ce que {row['first_name']} {row['last_name']} connaît {name} ?"
            answer = await talk(text, text)
            result = skill_outcome(answer, True)
            counts["skill of a person", result] += 1
            if result != "found":
                missed.append(f"{result}: {text} → {answer.text.splitlines()[:1]}")
    return counts


async def ask_off_topic(
    talk: Talk, texts: Sequence[str], missed: list[str]
) -> Counter[tuple[str, str]]:
    """Count the messages that are no question and bring people nevertheless (wrong)."""
    counts: Counter[tuple[str, str]] = Counter()
    for text in texts:
        answer = await talk(text, text)
        result = "wrong" if answer.people else "found"
        counts["off-topic (found: nobody shown)", result] += 1
        if result == "wrong":
            missed.append(f"{result}: {text} → {answer.text.splitlines()[:1]}")
    return counts


async def measure(
    talk: Talk, data: Mapping[str, Any], urls: Any, missed: list[str]
) -> dict[str, Counter[tuple[str, str]]]:
    """Build the three directories, ask, and count."""
    from actions import conversation

    people = names(data)
    public: dict[str, list[str]] = {skill: [] for skill in data["public"]}
    results: dict[str, Counter[tuple[str, str]]] = {}
    companies: dict[str, Mapping[str, Sequence[str]]] = {
        "own spellings": data["spellings"], "public list": public, "names that are words": public
    }  # fmt: skip
    for number, (name, spellings) in enumerate(companies.items()):
        rows = company(list(spellings), people)
        with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
            file.flush()
            os.environ["DIRECTORY_URL"] = urls(number)
            with patch.object(conversation, "_directory", Directory()) as directory:
                directory.import_(file.name)
                if name == "names that are words":
                    counts = await ask(talk, list(name_questions(rows)), missed)
                    counts += await ask_off_topic(talk, data["off_topic"], missed)
                else:
                    counts = await ask(talk, list(skill_questions(rows, spellings)), missed)
                    counts += await ask_checks(talk, rows, spellings, missed)
                directory.close()
        results[name] = counts
    return results


def main() -> None:
    """Print a table of outcomes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("--list", action="store_true", help="print what was not found")
    arguments = parser.parse_args()
    data = yaml.safe_load(Path(__file__).with_name("companies.yml").read_text(encoding="utf-8"))
    missed: list[str] = []
    settings = {"ANONYMOUS_SCOPES": "*", "AUDIT_LOG": "off", "DIRECTORY_TIMEOUT": "60"}
    with (
        tempfile.TemporaryDirectory(prefix="bench") as folder,
        databases(Path(folder), arguments.postgresql) as urls,
        patch.dict(os.environ, settings),
    ):
        results = asyncio.run(measure(in_process(arguments.model), data, urls, missed))
    table = Table("directory", "question", *OUTCOMES, "found")
    for name, counts in results.items():
        for kind in sorted({kind for kind, _ in counts}):
            row = [counts[kind, result] for result in OUTCOMES]
            table.add_row(name, kind, *map(str, row), f"{100 * row[0] / sum(row):.1f} %")
    if arguments.list:
        print("\n".join(missed))
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
