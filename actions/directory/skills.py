"""What skills are called, on both sides: in the question, and in the directory as it stands.

Each skill of the directory is found by its spelling, by every spelling that ``data/lookups.yml``
and the company's own synonyms know for it, whatever its number (*gestion de projet(s)*), by its
name without version, and by the parts of a list (*C/C++*) or what follows a vendor (*SAP ABAP*).
The same is done to what a question says, so both meet wherever one of them has the canonical name.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from weakref import WeakKeyDictionary

import yaml
from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine import Row as DatabaseRow

from actions.directory import matching, tables
from actions.directory.index import PeopleIndex
from actions.directory.matching import (
    loose_key,
    skill_key,
    squash,
    squashed_key,
    unique,
    without_version,
)
from actions.directory.vocabulary import Family
from actions.directory.vocabulary import family as shared_family

LOOKUPS_PATH = Path(__file__).resolve().parents[2] / "data" / "lookups.yml"

# Makers in front of a product's name, which people leave out.
# fmt: off
_VENDORS = frozenset((
    "adobe", "amazon", "apache", "atlassian", "autodesk", "aws", "cegid", "cisco", "dassault",
    "esri", "google", "hashicorp", "hp", "ibm", "jetbrains", "microsoft", "ms", "oracle", "redhat",
    "sage", "salesforce", "sap", "schneider", "siemens", "vmware",
))
# fmt: on
_LIST = re.compile(r"\s*[/|]\s*|\s+&\s+|\s*;\s*")
_BRACKETS = re.compile(r"(.+?)\s*\(([^()]+)\)")


def _squashed(text: str) -> str:
    return squashed_key(skill_key(text))


# --- what everybody calls them --------------------------------------------------------------------


@lru_cache(maxsize=1)
def lookups() -> Mapping[str, str]:
    """Canonical names of technologies by squashed spelling, out of ``data/lookups.yml``.

    Raises:
        OSError: the file cannot be read: the installation is not whole.
    """
    entries = yaml.safe_load(LOOKUPS_PATH.read_text(encoding="utf-8"))["nlu"]

    def lines(entry: Mapping[str, str]) -> Iterator[str]:
        return (line.removeprefix("-").strip() for line in entry["examples"].splitlines())

    found = {
        _squashed(name): name
        for entry in entries
        if entry.get("lookup") == "technology"
        for name in lines(entry)
    }
    for entry in entries:
        name = entry.get("synonym")
        if name is not None and found.get(_squashed(name)) == name:
            for spelling in lines(entry):
                found.setdefault(_squashed(spelling), name)
    return found


class Names:
    """The keys under which a spelling is known, given canonical names by squashed spelling."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = known
        self._loose = {key: name for s, name in known.items() if (key := loose_key(s))}

    def canonical(self, text: str) -> str | None:
        """The canonical name of ``text`` as it stands, or None."""
        key = skill_key(text)
        return self.known.get(squashed_key(key)) or self._loose.get(loose_key(key))

    def base(self, text: str) -> str:
        """The name without version; ``""`` where it has none, or where the number is the name's."""
        base = without_version(skill_key(text))
        if not base:
            return ""
        whole = self.known.get(_squashed(text))
        return base if whole is None or whole == self.known.get(_squashed(base)) else ""

    def keys(self, text: str) -> list[str]:
        """The keys of ``text`` itself: as it is spelled, its canonical name, both loosely."""
        key = skill_key(text)
        names = [key]
        if not self.base(text) and (canonical := self.canonical(text)):
            names.append(skill_key(canonical))
        return unique(k for name in names for k in (squashed_key(name), loose_key(name)) if k)

    def parts(self, text: str, skills: Container[str] = ()) -> list[str]:
        """The names that ``text`` is made of, in a list or behind a vendor; none where it is one.

        ``CI/CD`` is known as a whole, and ``TCP/IP`` is no list: its parts are no skills. They are
        where all are known, or in the directory (``skills``), or words of four letters, or have
        blanks between them, or a vendor in front of them.
        """
        key = skill_key(text)
        if squashed_key(key) in self.known:
            return []
        if bracketed := _BRACKETS.fullmatch(key):  # « Dessin assisté par ordinateur (DAO) »
            return [bracketed[1], bracketed[2]]
        head, _, rest = key.partition(" ")
        vendor = head if head in _VENDORS and len(rest) > 1 else ""
        listed = [part for part in _LIST.split(rest if vendor else key) if part]
        if len(listed) < 2:
            return [rest] if vendor else []

        def is_skill(part: str) -> bool:
            own = squash(part)
            return own in self.known or own in skills or bool(re.fullmatch(r"[^\W\d_]{4,}", own))

        spaced = bool(re.search(r"\s[/|;&]\s", key))
        if not (vendor or spaced or all(map(is_skill, listed))):
            return []
        if any(not re.search(r"[^\W\d_]", part) for part in listed):
            return []
        whole = [f"{vendor} {part}" for part in listed] if vendor else []
        return [*whole, *([rest] if vendor else []), *listed]


# --- what this directory calls them ---------------------------------------------------------------


@dataclass(frozen=True)
class Meant:
    """Skills (ids) that a name stands for.

    ``exact`` have that very name, ``others`` another version of it, or it is a part of theirs.
    ``version`` tells that a version was asked for, ``name`` how to call them all.
    """

    exact: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    version: bool = False
    name: str = ""

    @property
    def ids(self) -> tuple[int, ...]:
        """All of them, those of the very name first."""
        return self.exact + self.others


class Vocabulary:
    """The skills of a directory, by every key."""

    def __init__(
        self,
        rows: Iterable[DatabaseRow],
        synonyms: Mapping[str, str],
        families: Mapping[str, Family] = MappingProxyType({}),
    ) -> None:
        shared = lookups()
        self.synonyms = synonyms
        self.families = families
        # A company's own word stands for what it stands for elsewhere.
        own = {key: shared.get(_squashed(name), name) for key, name in synonyms.items()}
        targets = {_squashed(name): name for name in own.values()}
        self.naming = Names({**shared, **targets, **own})
        self.names: dict[int, str] = {row.id: row.name for row in rows}
        self._exact: dict[str, list[int]] = {}
        self._others: dict[str, list[int]] = {}
        # Squashed spellings first: a part of a list may be a skill of its own.
        for identifier, name in self.names.items():
            for key in self.naming.keys(name):
                self._exact.setdefault(key, []).append(identifier)
        for identifier, name in self.names.items():
            parts = self.naming.parts(name, self._exact)
            bases = filter(None, map(self.naming.base, (name, *parts)))
            for key in unique(k for part in (*parts, *bases) for k in self.naming.keys(part)):
                self._others.setdefault(key, []).append(identifier)
        self._people: PeopleIndex | None = None
        self._lock = threading.Lock()

    def people(self, connection: Connection) -> PeopleIndex:
        """Who has what; ``connection`` must be the one that this vocabulary came by."""
        with self._lock:
            if self._people is None:
                self._people = PeopleIndex(connection)
            return self._people

    def __contains__(self, key: str) -> bool:
        return key in self._exact or key in self._others or key in self.families

    def family(self, name: str) -> Family | None:
        """The family of that name: the company's own, else everybody's."""
        return self.families.get(_squashed(matching.clean(name))) or shared_family(name)

    def meaning(self, typed: str) -> Meant:
        """The skills that ``typed`` stands for; none where it is no name of any."""
        typed = matching.clean(typed)
        found = self._meaning(typed)
        if not found.ids:
            # What the directory has without the vendor, or only in part.
            parts = self.naming.parts(typed, self._exact)
            meant = [self._meaning(part) for part in parts]
            ids = unique(i for one in meant for i in one.ids)
            found = Meant((), tuple(ids), False, self._called(typed, ids))
        return found

    def _meaning(self, typed: str) -> Meant:
        keys = self.naming.keys(typed)
        exact = self._ids(self._exact, keys)
        base = self.naming.base(typed)
        if base:
            bases = self.naming.keys(base)
            others = self._ids(self._exact, bases)
            # Any version of what is known to have some; a norm's number is not one.
            if others or self.naming.canonical(base):
                others += self._ids(self._others, bases)
        else:
            others = self._ids(self._others, keys)
        others = [i for i in unique(others) if i not in exact]
        name = self._called(typed, exact or others)
        return Meant(tuple(exact), tuple(others), bool(base), name)

    @staticmethod
    def _ids(index: Mapping[str, list[int]], keys: Iterable[str]) -> list[int]:
        return unique(identifier for key in keys for identifier in index.get(key, ()))

    def _called(self, typed: str, ids: list[int]) -> str:
        """The directory's spelling of a name: the one typed if it is there, else the only one."""
        squashed = _squashed(typed)
        for identifier in ids:
            if _squashed(self.names[identifier]) == squashed:
                return self.names[identifier]
        if len(ids) == 1 and not self.naming.parts(self.names[ids[0]], self._exact):
            return self.names[ids[0]]
        return self.naming.canonical(typed) or typed


_cache: WeakKeyDictionary[Engine, tuple[int, Vocabulary]] = WeakKeyDictionary()
_lock = threading.Lock()


def vocabulary(connection: Connection) -> Vocabulary:
    """The vocabulary of the directory as it is now, from memory while nothing has changed."""
    number = connection.execute(select(tables.generation.c.number)).scalar_one()
    with _lock:
        cached = _cache.get(connection.engine)
    if cached is not None and cached[0] == number:
        return cached[1]
    skill, synonym = tables.skill.c, tables.synonym.c
    rows = connection.execute(select(skill.id, skill.name).order_by(skill.id)).all()
    pairs = connection.execute(select(synonym.key, synonym.name))
    found = Vocabulary(rows, {row.key: row.name for row in pairs}, _families(connection))
    with _lock:
        _cache[connection.engine] = number, found
    return found


def _families(connection: Connection) -> dict[str, Family]:
    """The company's own families by squashed name; the name itself may be a skill."""
    members: dict[str, dict[str, list[str]]] = {}
    family = tables.family.c
    for row in connection.execute(select(family.name, family.kind, family.member)):
        members.setdefault(row.name, {"skill": [row.name], "title": []})[row.kind].append(
            row.member
        )
    return {_squashed(n): Family.of(found["skill"], found["title"]) for n, found in members.items()}


def renew(connection: Connection) -> None:
    """Say that the directory has changed, to every process."""
    connection.execute(delete(tables.generation))
    connection.execute(insert(tables.generation).values(number=secrets.randbits(62) + 1))


def replace_families(connection: Connection, members: Iterable[tuple[str, str, str]]) -> None:
    """Make ``members`` (family, ``skill`` or ``title``, its name) the company's families."""
    connection.execute(delete(tables.family))
    rows = [{"name": f, "kind": k, "member": m} for f, k, m in dict.fromkeys(members)]
    if rows:
        connection.execute(insert(tables.family), rows)
    renew(connection)


def replace_synonyms(connection: Connection, names: Mapping[str, str]) -> None:
    """Make ``names`` (spelling → skill) the company's synonyms."""
    connection.execute(delete(tables.synonym))
    rows = {_squashed(s): {"key": _squashed(s), "spelling": s, "name": n} for s, n in names.items()}
    if rows:
        connection.execute(insert(tables.synonym), list(rows.values()))
    renew(connection)
