"""Messages without personal data, fit to be labelled and to be trained on.

Names of people become invented ones, as a training example needs a name where the question had
one; mail and web addresses, telephone and other long numbers become constants. Names are what the
bot took for one, what is in the directory, be it misspelt, and the usual names of
``data/names.yml``. A name that is none of these is not found.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rapidfuzz import process
from rapidfuzz.distance import OSA

from bot.dataset import Dataset, Entity, folded
from common.text import fold

PERSON = "person"
# Lookup tables of names, which are hints and no entities (data/names.yml).
GIVEN_NAMES, SURNAMES = "given_name", "surname"

# Kind → what it looks like, what is put there. In this order: a mail address may hold a number.
_CONSTANTS = {
    "mail": (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*"), "prenom.nom@example.com"),
    "web": (re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE), "https://example.com"),
    # Of the numbers that the regulator (ARCEP) keeps for films and books, as the sample directory.
    "phone": (re.compile(r"(?<!\w)(?:\+|00)?\d(?:[ .\-/()]{0,2}\d){7,14}(?!\w)"), "06 39 98 00 00"),
    "number": (re.compile(r"\d{6,}"), "000000"),
}
_WORD = re.compile(r"[^\W\d_]+")
_JOINT = re.compile(r"[ '’.\-]{1,3}")
_GLUE = re.compile(r"['’\-]")
# fmt: off
_PARTICLES = frozenset({
    "al", "ben", "bin", "da", "de", "del", "den", "der", "des", "di", "dos", "du", "el", "la",
    "las", "le", "les", "ould", "saint", "st", "van", "von",
})
# fmt: on
# Shorter words are in the names of somebody and in every sentence: « Le », « Ba », « An ».
_MIN_LENGTH = 3
# Length → typos with which such a word, or a longer one, is still taken for the name.
_TYPOS = {6: 1, 9: 2}
# Rasa has no notation for these in an example.
_BRACKETS = str.maketrans("[]{}", "()()")


@dataclass(frozen=True)
class Anonymous:
    """A message without personal data.

    ``pattern`` is the same for messages that differ in names, numbers, case, accents and
    punctuation alone.
    """

    text: str
    entities: tuple[Entity, ...]
    pattern: str


@dataclass(frozen=True)
class _Part:
    """``text[start:end]`` of a message: personal data or an entity, which ``kind`` says."""

    start: int
    end: int
    kind: str

    @property
    def is_personal(self) -> bool:
        return self.kind == PERSON or self.kind in _CONSTANTS


class Anonymiser:
    """Takes the personal data out of messages.

    Args:
        people: first and last name of everybody in the directory.
        examples: of the training data; a word that they have outside a name is an everyday word.
        given: usual given names, some of which are invented names.
        surnames: likewise.
        vocabulary: lookup tables and synonyms of what is no name, technologies above all.
    """

    def __init__(
        self,
        people: Iterable[tuple[str, str]],
        examples: Dataset,
        given: Sequence[str],
        surnames: Sequence[str],
        vocabulary: Dataset,
    ) -> None:
        self._directory = _words(part for pair in people for part in pair)
        self._given_words = _words(given)
        self._names = self._directory | self._given_words | _words(surnames)
        values = [value for table in vocabulary.lookups.values() for value in table]
        values += [one for variants in vocabulary.synonyms.values() for one in variants]
        self._known = frozenset(map(fold, values))
        self._everyday = _everyday(examples) | _words(values) | _PARTICLES
        self._long_names = [word for word in sorted(self._directory) if len(word) >= min(_TYPOS)]
        self._long_words = [word for word in sorted(self._everyday) if len(word) >= min(_TYPOS)]
        self._resembling: dict[str, bool] = {}
        # Nobody of the directory is to be met under an invented name.
        self._given = [name for name in given if not _words([name]) & self._directory]
        self._surnames = [name for name in surnames if not _words([name]) & self._directory]

    def __call__(self, text: str, entities: Iterable[Mapping[str, Any]] = ()) -> Anonymous:
        """Return ``text`` without personal data, and on one line.

        Args:
            entities: as Rasa stores them, with ``entity``, ``start`` and ``end``.
        """
        text, parts = self._parts(text, entities)
        pattern = folded("".join(said for said, _ in _pieces(text, parts, _as_pattern)))

        def invented(said: str, part: _Part) -> str:
            if part.kind in _CONSTANTS:
                return _CONSTANTS[part.kind][1]
            return self._invent(text, part, pattern) if part.kind == PERSON else said

        result, kept = "", []
        for said, kind in _pieces(text, parts, invented):
            said = re.sub(r"\s+", " ", said)
            said = said.lstrip() if not result else said
            if kind and kind not in _CONSTANTS:
                kept.append(Entity(len(result), len(result) + len(said), kind))
            result += said
        return Anonymous(result.rstrip(), tuple(kept), pattern)

    # -- finding --------------------------------------------------------------------------------

    def _parts(self, text: str, entities: Iterable[Mapping[str, Any]]) -> tuple[str, list[_Part]]:
        """Return the text as it is read here, and what is replaced or kept as an entity in it."""

        def composed(position: int) -> int:
            return len(unicodedata.normalize("NFC", text[:position]))

        found = [
            _Part(composed(entity["start"]), composed(entity["end"]), str(entity["entity"]))
            for entity in entities
            if isinstance(entity.get("start"), int) and isinstance(entity.get("end"), int)
        ]
        text = unicodedata.normalize("NFC", text).translate(_BRACKETS)
        text = "".join(char if char.isprintable() else " " for char in text)
        constants = (
            _Part(*match.span(), kind)
            for kind, (form, _) in _CONSTANTS.items()
            for match in form.finditer(text)
        )
        others = (part for part in found if part.kind != PERSON and text[part.start : part.end])
        parts: list[_Part] = []
        for part in (*constants, *self._people(text, found), *others):
            if not any(part.start < taken.end and taken.start < part.end for taken in parts):
                parts.append(part)
        return text, sorted(parts, key=lambda part: part.start)

    def _people(self, text: str, found: Sequence[_Part]) -> Iterator[_Part]:
        """Give the names of people: what the bot took for one, and the other words that are one."""
        words = list(_WORD.finditer(text))
        folds = [fold(word[0]) for word in words]
        inside = [_covering(word, found) for word in words]
        names = [
            self._is_name(text, word) if part is None else self._is_person(text, word, part)
            for word, part in zip(words, inside, strict=True)
        ]

        def joined(left: int, right: int) -> bool:
            return bool(_JOINT.fullmatch(text, words[left].end(), words[right].start()))

        # An everyday word beside a name may be its other half: « Pierre Petit ».
        for step in (1, -1):
            order = range(len(words))[::step]
            for before, index in itertools.pairwise(order):
                near = names[before] and joined(*sorted((before, index)))
                is_known = inside[index] is not None and not names[index]
                long_enough = len(folds[index]) >= _MIN_LENGTH and folds[index] not in _PARTICLES
                if near and not is_known and long_enough and folds[index] in self._names:
                    names[index] = True
        index = 0
        while index < len(words):
            if not names[index]:
                index += 1
                continue
            end = follower = index
            while follower + 1 < len(words) and joined(follower, follower + 1):
                follower += 1
                glued = _GLUE.fullmatch(text, words[follower - 1].end(), words[follower].start())
                short = len(folds[follower]) < _MIN_LENGTH
                if names[follower] or (glued and short and follower - 1 == end):  # « Le Floc'h »
                    end = follower
                elif not (folds[follower] in _PARTICLES or (glued and short)):
                    break
            yield _Part(words[index].start(), words[end].end(), PERSON)
            index = end + 1

    def _is_person(self, text: str, word: re.Match[str], part: _Part) -> bool:
        """Whether ``word`` is in a name, where the bot took it for ``part``."""
        if part.kind == PERSON:
            return True
        # « en Julia »: a technology that may be a name, unless it is known or nobody's.
        known = fold(text[part.start : part.end]) in self._known
        return not known and fold(word[0]) in self._directory

    def _is_name(self, text: str, word: re.Match[str]) -> bool:
        folded_word = fold(word[0])
        if len(folded_word) < _MIN_LENGTH or folded_word in _PARTICLES:
            return False
        if folded_word in self._everyday:
            # « Rose », but neither « rose » nor « PYTHON » nor the first word of a sentence.
            begins = not text[: word.start()].strip() or text[: word.start()].rstrip()[-1] in ".?!"
            capital = word[0][0].isupper() and not word[0].isupper() and not begins
            return capital and folded_word in self._names and folded_word not in self._known
        return folded_word in self._names or self._resembles(folded_word)

    def _resembles(self, word: str) -> bool:
        """Whether ``word`` is a misspelt name of the directory rather than an everyday word."""
        typos = max((n for length, n in _TYPOS.items() if len(word) >= length), default=0)
        if not typos:
            return False
        if word not in self._resembling:

            def near(words: Sequence[str]) -> bool:
                found = process.extractOne(word, words, scorer=OSA.distance, score_cutoff=typos)
                return found is not None

            self._resembling[word] = near(self._long_names) and not near(self._long_words)
        return self._resembling[word]

    # -- inventing ------------------------------------------------------------------------------

    def _invent(self, text: str, part: _Part, pattern: str) -> str:
        """Return a name for ``part``, of the same form; drawn by the sentence, not by the name."""
        typed = text[part.start : part.end]
        drawn = hashlib.sha256(f"{pattern} {part.start}".encode()).digest()
        words = _WORD.findall(typed)
        # « d'Inès », « qu'Inès »: an elision wants a vowel.
        elided = text[: part.start].endswith(("'", "’"))

        def draw(names: Sequence[str], number: int, otherwise: str) -> str:
            fitting = [name for name in names if not elided or fold(name)[0] in "aeiou"]
            place = int.from_bytes(drawn[8 * number : 8 * number + 8], "big")
            return fitting[place % len(fitting)] if fitting else otherwise

        given, surname = draw(self._given, 0, "Alix"), draw(self._surnames, 1, "Untel")
        if len(words) > 1:
            name = f"{given} {surname}"
        else:
            name = given if fold(words[0] if words else "") in self._given_words else surname
        if text.isascii():
            decomposed = unicodedata.normalize("NFKD", name)
            name = "".join(char for char in decomposed if not unicodedata.combining(char))
        return name.lower() if typed.islower() else name.upper() if typed.isupper() else name


def _words(names: Iterable[str]) -> frozenset[str]:
    """Return the words of ``names``, folded, without short ones and particles."""
    words = {fold(word) for name in names for word in _WORD.findall(name)}
    return frozenset(word for word in words - _PARTICLES if len(word) >= _MIN_LENGTH)


def _everyday(examples: Dataset) -> frozenset[str]:
    texts = []
    for example in examples.examples:
        text = example.text
        for entity in reversed(example.entities):
            text = f"{text[: entity.start]} {text[entity.end :]}"
        texts.append(text)
    return _words(texts)


def _covering(word: re.Match[str], parts: Iterable[_Part]) -> _Part | None:
    """Return the part that ``word`` is in, a person first."""
    around = [part for part in parts if part.start < word.end() and word.start() < part.end]
    return min(around, key=lambda part: part.kind != PERSON, default=None)


def _as_pattern(said: str, part: _Part) -> str:
    return f"<{part.kind}>" if part.is_personal else said


def _pieces(
    text: str, parts: Iterable[_Part], change: Callable[[str, _Part], str]
) -> Iterator[tuple[str, str | None]]:
    """Give the pieces of ``text`` in order, those of ``parts`` changed and with their kind."""
    position = 0
    for part in parts:
        yield text[position : part.start], None
        yield change(text[part.start : part.end], part), part.kind
        position = part.end
    yield text[position:], None
