"""Names of this directory's skills and people in a message, whoever read it before and how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.engine import Connection

from actions.directory import matching, skills, tables
from common.text import fold_aligned

# Of a message, and of a name in it.
_MAX_WORDS, _MAX_SKILL_WORDS, _MAX_NAME_WORDS = 60, 8, 6
_WORD = re.compile(r"[^\W_]+[+#]*")
# Words that no skill begins or ends with. « C » and « R » are left to those who see the context.
# fmt: off
_EDGES = matching.PARTICLES | frozenset((
    "a", "au", "aux", "en", "et", "ou", "un", "une", "sur", "dans", "par", "pour", "chez", "avec",
    "sans", "qui", "que", "qu", "quoi", "est", "ce", "ne", "pas", "y", "il", "elle", "on", "je",
    "tu", "nous", "vous", "c", "j", "m", "n", "s", "t",
))
# fmt: on
# Signs that may stand within a name.
_INSIDE = re.compile(r"[\s\-'/.&|,_+]*")

_NAMED = select(tables.collaborator.c.name_key).where(
    tables.collaborator.c.name_key.in_(bindparam("keys", expanding=True))
)


@dataclass(frozen=True)
class Spotted:
    """A name in a text, as it is written there: ``technology`` or ``person``."""

    kind: str
    start: int
    end: int
    value: str


def spot(connection: Connection, text: str) -> list[Spotted]:
    """The whole names of people and skills in ``text``, the longest of those that overlap."""
    folded, offsets = fold_aligned(text[: 4 * matching.MAX_QUERY_CHARS])
    offsets.append(min(len(text), 4 * matching.MAX_QUERY_CHARS))
    words = [match.span() for match in _WORD.finditer(folded)][:_MAX_WORDS]
    found = [("person", *span) for span in _people(connection, folded, words)]
    known = skills.vocabulary(connection)
    for start, end in _windows(folded, words, _MAX_SKILL_WORDS, _EDGES):
        written = folded[start:end]
        # Two small letters are rather a word: « let's go ».
        if written.isascii() and len(written) < (3 if text[offsets[start]].islower() else 2):
            continue
        key = matching.skill_key(written)
        if any(k in known for k in (matching.squash(key), matching.loose_key(key)) if k) or (
            matching.squashed_key(key) in known.synonyms and known.meaning(written).ids
        ):
            # « .NET »: the sign belongs to it, and « net » alone is a word.
            dotted = written == "net"
            if not dotted or folded[:start].endswith("."):
                found.append(("technology", start - dotted, end))
    kept: list[tuple[str, int, int]] = []
    for kind, start, end in sorted(found, key=lambda one: one[1] - one[2]):
        if not any(start < stop and begin < end for _, begin, stop in kept):
            kept.append((kind, start, end))
    return [
        Spotted(kind, offsets[start], offsets[end], text[offsets[start] : offsets[end]])
        for kind, start, end in sorted(kept, key=lambda one: one[1])
    ]


def _windows(
    text: str, words: list[tuple[int, int]], most: int, edges: frozenset[str] = frozenset()
) -> Iterator[tuple[int, int]]:
    """Runs of words that a name may be, without the words ``edges`` at their ends."""
    for first, (start, stop) in enumerate(words):
        if text[start:stop] in edges:
            continue
        end = start
        for begin, last in words[first : first + most]:
            if begin > start and not _INSIDE.fullmatch(text, end, begin):
                break
            end = last
            if text[begin:last] not in edges:
                yield start, end


def _people(
    connection: Connection, text: str, words: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Where first and last name of somebody stand side by side."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for start, end in _windows(text, words, _MAX_NAME_WORDS):
        tokens = matching.words(text[start:end])
        if len(tokens) > 1:
            for key in matching.query_name_keys(tokens):
                spans.setdefault(key, []).append((start, end))
    if not spans:
        return []
    keys = connection.execute(_NAMED, {"keys": list(spans)}).scalars()
    return [span for key in set(keys) for span in spans[key]]
