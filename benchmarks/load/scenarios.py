"""Conversations whose right answers are known, so that each answer can be told to be its own.

Every conversation is about a person and a technology drawn at random: typed questions, follow-ups
that only the memory of that conversation makes sense of, and taps of buttons. What answers another
question, or belongs to another person or conversation, is therefore found out.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

PAGE = 5


@dataclass(frozen=True)
class Person:
    """Somebody in the directory; ``skills`` as it spells them."""

    id: str
    name: str
    agency: str
    skills: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A message, and what its answer must hold.

    Attributes:
        message: a ``UserMessage`` of the mobile channel's contract.
        card: fields that a card of the answer must have, to any depth; None: a text is enough.
        offers: the payload of a button that the answer must offer.
        refusable: whether the bot may refuse the message as malformed, and then forgets it.
    """

    message: Mapping[str, str]
    card: Mapping[str, Any] | None = None
    offers: str | None = None
    refusable: bool = False

    @property
    def text(self) -> str:
        """What Rasa is to understand."""
        return self.message["text" if self.message["type"] == "text" else "payload"]

    def problem(self, replies: Sequence[Mapping[str, Any]]) -> str | None:
        """Return what is wrong with the ``replies``, None where nothing is.

        Args:
            replies: as in a ``Turn`` of the contract.
        """
        if not any(reply["text"] for reply in replies):
            return "no answer"
        if self.card is not None and not any(holds(reply["card"], self.card) for reply in replies):
            return "the answer to something else"
        payloads = [button["payload"] for reply in replies for button in reply["buttons"]]
        if self.offers is not None and self.offers not in payloads:
            return "a button is missing"
        return None


def holds(value: Any, expected: Any) -> bool:
    """Return whether all of ``expected`` is in ``value``, which may have more fields."""
    if isinstance(expected, Mapping):
        return isinstance(value, Mapping) and all(
            holds(value.get(name), item) for name, item in expected.items()
        )
    return bool(value == expected)


def say(text: str, **expected: Any) -> Step:
    """Return the step of somebody who types ``text``."""
    return Step({"type": "text", "text": text}, **expected)


def tap(payload: str, title: str, **expected: Any) -> Step:
    """Return the step of somebody who taps the button ``title``."""
    return Step({"type": "postback", "payload": payload, "title": title}, **expected)


@dataclass(frozen=True)
class Directory:
    """What a directory file says, as far as conversations need it.

    Attributes:
        people: with a name of their own, and with ``skills`` that make more than one page.
        experts: how many people know a technology that makes more than one page.
        namesakes: people with the same name, at least two each.
    """

    people: tuple[Person, ...]
    experts: Mapping[str, int]
    namesakes: tuple[tuple[Person, ...], ...]

    @classmethod
    def read(cls, path: Path) -> Directory:
        """Read a CSV file (docs/directory.md)."""
        with path.open(encoding="utf-8", newline="") as file:
            everybody = [_person(row) for row in csv.DictReader(file)]
        names = Counter(person.name for person in everybody)
        known = Counter(skill for person in everybody for skill in person.skills)
        experts = {skill: number for skill, number in known.items() if number > PAGE}
        own = (one for one in everybody if names[one.name] == 1)
        common = (
            replace(one, skills=tuple(skill for skill in one.skills if skill in experts))
            for one in own
        )
        shared = (name for name, number in names.items() if number > 1)
        return cls(
            tuple(one for one in common if one.skills),
            experts,
            tuple(tuple(one for one in everybody if one.name == name) for name in shared),
        )


def _person(row: Mapping[str, str]) -> Person:
    skills = (skill.rpartition(":")[0] for skill in row["skills"].split(";") if skill)
    name = f"{row['first_name']} {row['last_name']}"
    return Person(row["id"], name, row["agency"], tuple(skills))


def conversation(directory: Directory, draw: random.Random) -> list[Step]:
    """Return the steps of a conversation: the three questions, follow-ups and taps."""
    person = draw.choice(directory.people)
    parts = [
        _about(person, draw),
        _experts(directory, draw),
        [say("Bonjour, comment ça va ?")],
    ]
    if directory.namesakes:
        parts.append(_choice(draw.choice(directory.namesakes), draw))
    draw.shuffle(parts)
    return [step for part in parts for step in part]


def endless(directory: Directory, draw: random.Random) -> Iterator[Step]:
    """Give the steps of one conversation after the other."""
    while True:
        yield from conversation(directory, draw)


def _about(person: Person, draw: random.Random) -> list[Step]:
    card = {"type": "person_card", "person": {"id": person.id}}
    skill = draw.choice(person.skills)
    check = {"type": "skill_check", "person": {"id": person.id}, "technology": skill}
    return [
        say(f"Qui est {person.name} ?", card={**card, "detail": None}),
        say(f"est-ce qu'il connaît {skill} ?", card=check),
        say("quel est son mail ?", card={**card, "detail": "email"}),
    ]


def _experts(directory: Directory, draw: random.Random) -> list[Step]:
    skill = draw.choice(sorted(directory.experts))
    agency = draw.choice([one.agency for one in directory.people if skill in one.skills])
    card = {"type": "expert_list", "technologies": [skill]}
    payload = {"technology": skill, "offset": str(PAGE)}
    following = f"/WHO_KNOWS_ABOUT{json.dumps(payload, ensure_ascii=False)}"
    total = directory.experts[skill]
    return [
        say(
            f"Qui connaît {skill} ?",
            card={**card, "agency": None, "total": total, "offset": 0},
            offers=following,
        ),
        tap(following, "Voir la suite", card={**card, "total": total, "offset": PAGE}),
        say(f"et à {agency} ?", card={**card, "agency": agency}),
    ]


def _choice(namesakes: Sequence[Person], draw: random.Random) -> list[Step]:
    chosen = draw.choice(namesakes)
    payload = f"/WHO_IS{json.dumps({'collaborator_id': chosen.id})}"
    listed = {"type": "person_choice", "reason": "namesakes", "total": len(namesakes)}
    card = {"type": "person_card", "person": {"id": chosen.id}}
    return [
        say(f"Tu connais {chosen.name} ?", card=listed, offers=payload),
        tap(payload, chosen.agency, card=card),
    ]
