"""Families of skills and other names of job titles, out of ``families.yml``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from actions.directory import matching


@dataclass(frozen=True)
class Family:
    """A field of work: names of it and its skills; stems of job titles, all of one."""

    skills: tuple[str, ...]
    titles: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, skills: Iterable[str], titles: Iterable[str]) -> Family:
        """The family of whoever has one of the skills, or all words of a title."""
        return cls(tuple(skills), tuple(tuple(matching.stems(title)) for title in titles))


def _squashed(name: object) -> str:
    return matching.squash(matching.skill_key(str(name)))


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    path = Path(__file__).with_name("families.yml")
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


@lru_cache(maxsize=1)
def related() -> tuple[tuple[str, ...], ...]:
    """Squashed names of skills that go together."""
    return tuple(tuple(map(_squashed, group)) for group in _file()["related"])


@lru_cache(maxsize=1)
def known_technologies() -> frozenset[str]:
    """Squashed names of all skills of :func:`related`."""
    return frozenset(name for group in related() for name in group)


@lru_cache(maxsize=1)
def _families() -> dict[str, Family]:
    found = {}
    for name, entry in _file()["families"].items():
        names = map(_squashed, (name, *entry.get("also", ()), *entry["skills"]))
        family = Family.of(names, map(str, entry["titles"]))
        found.update({_squashed(known): family for known in (name, *entry.get("also", ()))})
    return found


def family(name: str) -> Family | None:
    """The family of that name in ``families.yml``, whatever its case, accents and hyphens."""
    return _families().get(_squashed(name))


@lru_cache(maxsize=1)
def _titles() -> dict[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return {
        tuple(matching.stems(name)): tuple(tuple(matching.stems(title)) for title in titles)
        for name, titles in _file()["titles"].items()
    }


def titles(name: str) -> tuple[tuple[str, ...], ...]:
    """What a job title is called: stems, of which a title has all of at least one."""
    typed = tuple(matching.stems(name))
    return _titles().get(typed, (typed,) if typed else ())
