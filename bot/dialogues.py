"""Whole dialogues with the bot as it runs, judged turn by turn: a part of ``bot evaluate``.

The model answers in this process, and so do the actions, on a directory of their own and with the
day of the file as today. A file holds ``today`` and ``dialogues``, each with a ``kind`` and its
``turns``: what the ``user`` says and what must hold of the answer (see :func:`failures`).
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from rich.console import Console
from rich.table import Table

from bot.evaluation import quiet_agent
from common.errors import UserError
from common.text import fold

DIRECTORY = Path(__file__).resolve().parent.parent / "data/directory.csv"

# Keys of a turn that its answer is judged by.
CHECKS = (
    "people", "first", "total", "includes", "excludes", "says", "says_not", "card", "level", "asks"
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What the bot said in one turn: its texts, and the cards beside them."""

    text: str
    cards: tuple[Mapping[str, Any], ...]

    @property
    def people(self) -> list[str]:
        """The names of those shown as rows or card, each person once, in order."""
        found: dict[str, str] = {}
        for card in self.cards:
            rows = [row["person"] for row in card.get("experts", ())]
            if card.get("reason") in ("namesakes", "which"):
                rows += card["people"]
            for person in (*rows, *filter(None, [card.get("person")])):
                found[person["id"]] = person["name"]
        return list(found.values())

    @property
    def totals(self) -> set[int]:
        """The numbers of people told."""
        told = {card["total"] for card in self.cards if "total" in card}
        return told | {int(number) for number in re.findall(r"(?<![\d/])\d+(?![\d/])", self.text)}

    @property
    def levels(self) -> set[int]:
        """The levels told."""
        rows = [row["levels"] for card in self.cards for row in card.get("experts", ())]
        told = {level for row in rows for level in row.values()}
        told |= {card["level"] for card in self.cards if card.get("level")}
        return told | {int(n) for n in re.findall(r"\b([1-5])(?:/5| sur 5)", self.text)}

    @property
    def asks(self) -> bool:
        """Whether the user is asked back."""
        return "?" in self.text or any(card["type"] == "person_choice" for card in self.cards)


# A message and the sender's id to the answer.
Talk = Callable[[str, str], Awaitable[Answer]]


def failures(turn: Mapping[str, Any], answer: Answer) -> list[str]:
    """Return which of the keys of ``turn`` do not hold of ``answer``.

    ``people``: just these are shown, in any order; ``first``: the first rows; ``total``: this
    number is told; ``includes``, ``excludes``: shown, not shown; ``says``, ``says_not``: parts of
    the text, of a list in the list one is enough; ``card``: the only person shown; ``level``;
    ``asks``: the user is asked back.
    """
    text, shown = fold(answer.text), answer.people
    folded = [fold(name) for name in shown]

    def said(item: str | Sequence[str]) -> bool:
        return any(fold(str(one)) in text for one in ([item] if isinstance(item, str) else item))

    def names(key: str) -> list[str]:
        return [fold(name) for name in turn.get(key) or ()]

    holds = {
        "people": lambda: Counter(names("people")) == Counter(folded),
        "first": lambda: names("first") == folded[: len(turn["first"])],
        "total": lambda: turn["total"] in answer.totals,
        "includes": lambda: set(names("includes")) <= set(folded),
        "excludes": lambda: not set(names("excludes")) & set(folded),
        "says": lambda: all(map(said, turn["says"])),
        "says_not": lambda: not any(map(said, turn["says_not"])),
        "card": lambda: folded == [fold(turn["card"])],
        "level": lambda: turn["level"] in answer.levels,
        "asks": lambda: answer.asks == turn["asks"],
    }
    return [key for key in CHECKS if key in turn and not holds[key]()]


@dataclass(frozen=True)
class Judged:
    """A turn, the answer to it, and the keys that do not hold."""

    kind: str
    user: str
    answer: Answer
    failed: tuple[str, ...]


def read(path: Path) -> tuple[date, list[dict[str, Any]]]:
    """Return the day and the dialogues of a file.

    Raises:
        UserError: it is no such file.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        day, dialogues = loaded["today"], list(loaded["dialogues"])
        kinds = [(d["kind"], turn["user"]) for d in dialogues for turn in d["turns"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no file of dialogues: {error}") from None
    if not isinstance(day, date) or not kinds:
        raise UserError(f"{path}: `today` must be a day, and there must be dialogues.")
    return day, dialogues


def judge(model: Path, path: Path) -> list[Judged]:
    """Hold the dialogues of ``path`` with ``model``, and return every turn judged."""
    day, dialogues = read(path)
    with tempfile.TemporaryDirectory(prefix="dialogues") as folder:
        settings = {
            "DIRECTORY_URL": f"sqlite:///{Path(folder) / 'directory.db'}",
            "ANONYMOUS_SCOPES": "*",
            "AUDIT_LOG": "off",
            "DIRECTORY_TIMEOUT": "60",
        }
        with patch.dict(os.environ, settings):
            from actions import conversation
            from actions.directory import ensure_sample

            ensure_sample(settings["DIRECTORY_URL"], DIRECTORY)
            with (
                patch.object(conversation, "today", lambda: day),
                patch.object(conversation, "_directory", None),  # this one, not an earlier one
            ):
                return asyncio.run(_hold(model, dialogues))


def in_process(model: Path) -> Talk:
    """Return what answers a user's message (text, sender) with ``model`` and our actions."""
    from rasa.utils.endpoints import EndpointConfig
    from rasa_sdk.executor import ActionExecutor

    executor = ActionExecutor()
    executor.register_package("actions")

    class Actions(EndpointConfig):
        """The actions of this process, where Rasa looks for a server."""

        async def request(self, *_: Any, **options: Any) -> Any:
            return await executor.run(options["json"])

    agent = quiet_agent(model, action_endpoint=Actions("http://in-process"))

    async def talk(text: str, sender: str) -> Answer:
        said = await agent.handle_text(text, sender_id=sender) or []
        return Answer(
            "\n".join(message["text"] for message in said if message.get("text")),
            tuple(message["custom"] for message in said if message.get("custom")),
        )

    return talk


async def _hold(model: Path, dialogues: Sequence[Mapping[str, Any]]) -> list[Judged]:
    talk = in_process(model)
    judged = []
    for number, dialogue in enumerate(dialogues):
        for turn in dialogue["turns"]:
            answer = await talk(turn["user"], str(number))
            kind = turn.get("kind", dialogue["kind"])
            failed = tuple(failures(turn, answer))
            judged.append(Judged(kind, turn["user"], answer, failed))
    return judged


def summary(judged: Sequence[Judged]) -> dict[str, dict[str, int]]:
    """Return by kind how many turns there are and how many are right, then ``all``."""
    turns, right = Counter(j.kind for j in judged), Counter(j.kind for j in judged if not j.failed)
    kinds = {kind: {"turns": turns[kind], "right": right[kind]} for kind in sorted(turns)}
    return {**kinds, "all": {"turns": len(judged), "right": sum(right.values())}}


def print_summary(figures: Mapping[str, Mapping[str, int]], console: Console) -> None:
    """Print the turns right, by kind."""
    table = Table("kind", "right", "turns", "%", title="Turns of whole dialogues")
    for kind, row in figures.items():
        share = 100 * row["right"] / row["turns"]
        table.add_row(kind, str(row["right"]), str(row["turns"]), f"{share:.1f}")
    console.print(table)
