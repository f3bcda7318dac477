"""Variants of training examples: as people type them, and with other names in them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from common.text import fold

# Letters beside each other on an AZERTY keyboard.
_NEIGHBOURS = {
    "a": "zq", "z": "aes", "e": "zrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok",
    "o": "ipl", "p": "om", "q": "asw", "s": "qdz", "d": "sfe", "f": "dgr", "g": "fht", "h": "gjy",
    "j": "hku", "k": "jli", "l": "kmo", "m": "lp", "w": "xq", "x": "wcs", "c": "xvd", "v": "cbf",
    "b": "vng", "n": "bh",
}  # fmt: skip
_ABBREVIATIONS = {
    "qui": "ki", "est": "é", "c'est": "c", "quelqu'un": "qqun", "que": "ke", "quel": "kel",
    "quelle": "kelle", "pour": "pr", "dans": "ds", "avec": "avc", "vous": "vs", "tu": "t",
    "bonjour": "bjr", "salut": "slt", "s'il te plaît": "stp", "beaucoup": "bcp", "comment": "cmt",
    "toujours": "tjs", "quoi": "koi", "quand": "qd", "nous": "ns", "sur": "sr", "il y a": "ya",
}  # fmt: skip


def drop(text: str, at: int) -> str:
    """Return ``text`` without the letter at index ``at``."""
    return text[:at] + text[at + 1 :]


def double(text: str, at: int) -> str:
    """Return ``text`` with the letter at index ``at`` twice."""
    return text[:at] + text[at] + text[at:]


def swap(text: str, at: int) -> str:
    """Return ``text`` with the letter at index ``at`` after the next one; the last one stays."""
    return text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :]


def augment(text: str, rng: random.Random) -> str:
    """Return ``text`` as somebody in a hurry might type it; the meaning stays.

    One to three of: no accents, no capitals, no punctuation, an abbreviation, a typo.
    """
    changes = rng.sample([_plain, _lower, _unpunctuated, _abbreviated, _typo], k=rng.randint(1, 3))
    for change in changes:
        text = change(text, rng)
    return text


def _plain(text: str, rng: random.Random) -> str:
    # fold() lowers case too; keep the capitals where the letters line up.
    folded = fold(text)
    if len(folded) != len(text):
        return folded
    return "".join(
        new.upper() if old.isupper() else new for old, new in zip(text, folded, strict=True)
    )


def _lower(text: str, rng: random.Random) -> str:
    return text.lower()


def _unpunctuated(text: str, rng: random.Random) -> str:
    return text.rstrip(" ?!.…").replace(",", "")


def _abbreviated(text: str, rng: random.Random) -> str:
    padded = f" {text} "
    for phrase, short in _ABBREVIATIONS.items():
        if rng.random() < 0.7:
            padded = padded.replace(f" {phrase} ", f" {short} ")
            padded = padded.replace(f" {phrase.capitalize()} ", f" {short.capitalize()} ")
    return padded.strip()


def _typo(text: str, rng: random.Random) -> str:
    """Drop, double, swap or replace one letter in about every twelve."""
    for _ in range(max(1, len(text) // 12)):
        positions = [index for index, char in enumerate(text) if char.isalpha()]
        if len(positions) < 4:
            break
        at = rng.choice(positions)
        slip = rng.choice((drop, double, swap, None))
        if slip is None or (slip is swap and at + 1 == len(text)):
            near = rng.choice(_NEIGHBOURS.get(text[at].lower(), text[at]))
            text = text[:at] + near + text[at + 1 :]
        else:
            text = slip(text, at)
    return text


# --- with other names


def _split(words: str) -> list[str]:
    return words.split()


# Syllables of made-up names: any French-looking word may be a name or a technology.
_ONSETS = _split(
    "b br c ch cl cr d dr f fl fr g gl gr h j k kr l m n p ph pl pr qu r s sc sk st t tr v w x z"
)
_VOWELS = _split("a e i o u ou oi an en in on ai au eau é è io ie")
_CODAS = ["", "", "", "l", "n", "r", "s", "t", "x", "c", "ck", "m", "lt", "rd", "st", "ng"]
_TECH_ENDINGS = [
    "",
    "",
    "",
    "DB",
    "JS",
    "ify",
    "ly",
    "Flow",
    "Kit",
    "Hub",
    "ium",
    "io",
    "SQL",
    "Ops",
]


class Example(NamedTuple):
    """A tokenised text: words, their tags (B-, I- or O), the sign between each and the next."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    gaps: tuple[str, ...]


def entity_runs(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return ``(first, last excluded, entity)`` of the entities in a sequence of tags."""
    runs: list[tuple[int, int, str]] = []
    for index, tag in enumerate(tags):
        prefix, _, entity = tag.partition("-")
        if prefix == "I" and runs and runs[-1][1:] == (index, entity):
            runs[-1] = (runs[-1][0], index + 1, entity)
        elif entity:
            runs.append((index, index + 1, entity))
    return runs


def entity_tags(length: int, entity: str) -> list[str]:
    """Return the tags of an entity of ``length`` words."""
    return [f"B-{entity}", *[f"I-{entity}"] * (length - 1)]


class Augmenter:
    """Makes variants: other names in the same place, small letters, lost accents, typos.

    Args:
        pools: for each entity whose names may be exchanged, the names as word tuples.
        people: the entities that are names of people: given names and surnames are recombined.
        made_up: share of the exchanged names that are invented.
        strange: share of the longer words in texts without entities that are invented.
        seed: of the random choices.
    """

    def __init__(
        self,
        pools: Mapping[str, Sequence[tuple[str, ...]]],
        people: Sequence[str] = ("person",),
        made_up: float = 0.3,
        strange: float = 0.25,
        invent: Sequence[str] = ("person", "technology"),
        seed: int = 0,
    ) -> None:
        self._pools = {entity: sorted(set(names)) for entity, names in pools.items()}
        self._people = frozenset(people)
        self._invent = frozenset(invent)
        self._made_up = made_up
        self._strange = strange
        self._random = random.Random(seed)

    def variant(self, example: Example) -> Example:
        """Return one variant of ``example``, drawn at random."""
        words: list[str] = []
        tags: list[str] = []
        gaps: list[str] = []
        done = 0
        runs = entity_runs(example.tags)
        if not runs:
            words = [self._other_word(word) for word in example.words]
            return example._replace(words=tuple(self._retyped(words)))
        for first, last, entity in runs:
            words += example.words[done:first]
            tags += example.tags[done:first]
            gaps += example.gaps[done:first]
            # Without a word around it, an invented name would teach that any word is one.
            made_up = self._made_up if "O" in example.tags else 0.0
            name = self._other_name(entity, example.words[first:last], made_up)
            words += name
            tags += entity_tags(len(name), entity)
            gaps += [" "] * (len(name) - 1) + [example.gaps[last - 1]]
            done = last
        words += example.words[done:]
        tags += example.tags[done:]
        gaps += example.gaps[done:]
        return Example(tuple(self._retyped(words)), tuple(tags), tuple(gaps))

    def _other_word(self, word: str) -> str:
        """Now and then an unknown word: not every one is a name."""
        if len(word) < 4 or self._random.random() >= self._strange:
            return word
        return self._invented("", 1)[0].lower()

    def _other_name(self, entity: str, words: tuple[str, ...], made_up: float) -> tuple[str, ...]:
        pool = self._pools.get(entity)
        if not pool or self._random.random() < 0.2:
            return words
        lower = all(word.islower() for word in words)
        if entity in self._invent and self._random.random() < made_up:
            name = self._invented(entity, len(words))
        elif entity in self._people:
            # Keep the form (given name alone, or both), change the people.
            same = [other for other in pool if len(other) == len(words)] or pool
            name = list(self._random.choice(same))
            if len(name) == 2:
                name[1] = self._random.choice(same)[-1]
        else:
            name = list(self._random.choice(pool))
        return tuple(word.lower() for word in name) if lower else tuple(name)

    def _invented(self, entity: str, length: int) -> list[str]:
        choose = self._random.choice
        names = []
        for _ in range(length):
            syllables = self._random.choice((1, 2, 2, 2, 3))
            word = "".join(choose(_ONSETS) + choose(_VOWELS) for _ in range(syllables))
            word += choose(_CODAS)
            if entity in self._people:
                if self._random.random() < 0.05:
                    word += "-" + choose(_ONSETS) + choose(_VOWELS) + choose(_CODAS)
            elif entity:
                word += choose(_TECH_ENDINGS)
                if self._random.random() < 0.1:
                    word = word[: self._random.randint(2, 4)].upper()
            names.append(word[:1].upper() + word[1:])
        return names

    def _retyped(self, words: Sequence[str]) -> list[str]:
        """The same words as somebody types them on a phone."""
        style = self._random.random()
        if style < 0.45:
            words = [word.lower() for word in words]
        elif style < 0.5:
            words = [word.upper() for word in words]
        if self._random.random() < 0.5:
            words = [fold(word) if word.islower() else word for word in words]
        return [self._typo(word) if self._random.random() < 0.04 else word for word in words]

    def _typo(self, word: str) -> str:
        if len(word) < 4 or not word.isalpha():
            return word
        at = self._random.randrange(1, len(word) - 1)
        return self._random.choice((drop, double, swap))(word, at)
