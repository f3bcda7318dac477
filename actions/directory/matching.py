"""Names and skills as search keys: folding, tokens, sounds, typos, and the score of a match.

Everything here is pure text work; what is stored in the database (tokens, keys, sort orders)
comes out of these functions, so changing what they return needs a migration that rebuilds it.

Typos are found without a scan by a *deletion neighbourhood*: two words at most ``d`` edits apart
share a word that is left after deleting at most ``d`` letters of each (Mor & Fraenkel 1982, "A hash
code method for detecting and correcting spelling errors"; made practical by the prefix limit of
SymSpell, Garbe 2012). Exact scoring of the few candidates is rapidfuzz's optimal string alignment.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from rapidfuzz.distance import OSA

from common.text import fold

# A longer question is cut here: no name is that long, and work per question stays bounded.
MAX_QUERY_CHARS = 300
MAX_QUERY_TOKENS = 10

# fmt: off
PARTICLES = frozenset((
    "de", "du", "des", "d", "le", "la", "les", "l", "von", "van", "der", "den", "da", "dos", "das",
    "di", "del", "della", "al", "el", "ben", "bin", "bint", "ibn", "ould", "st", "saint", "sainte",
))
HONORIFICS = frozenset((
    "m", "mr", "mrs", "ms", "mme", "mlle", "mmes", "melle", "monsieur", "madame", "mademoiselle",
    "dr", "docteur", "pr", "prof", "professeur", "maitre",
))
# fmt: on

# Lengths of the columns that hold keys; some characters fold into many.
_MAX_WORD, _MAX_KEY = 60, 200
_PREFIX = 7  # letters of a word that take part in its deletion neighbourhood (SymSpell's default)
# Same sound, other spelling: closer than any typo, less than equal.
_SAME_SOUND = 0.9

_WORD = re.compile(r"[^\W_]+")
_T = TypeVar("_T")


def _fold(text: str) -> str:
    # Most names are plain ASCII, where folding is lower case.
    return text.lower() if text.isascii() else fold(text)


def clean(text: str) -> str:
    """Cut ``text`` and replace what no database column takes (NUL, other controls, surrogates)."""
    return "".join(char if char.isprintable() else " " for char in text[:MAX_QUERY_CHARS]).strip()


def words(text: str) -> list[str]:
    """Folded runs of letters and digits: ``"N'Diaye-Éluard"`` gives ``n, diaye, eluard``."""
    return [word[:_MAX_WORD] for word in _WORD.findall(_fold(text))]


def deletions(word: str, distance: int, prefix: int = _PREFIX) -> set[str]:
    """All strings left of the first ``prefix`` letters of ``word`` after at most ``distance``
    deletions, itself included."""
    found = level = {word[:prefix]}
    for _ in range(distance):
        level = {item[:i] + item[i + 1 :] for item in level for i in range(len(item))}
        found = found | level
    found.discard("")
    return found


def typos_allowed(word: str) -> int:
    """Edits that may separate a typed word from the one meant."""
    length = len(word)
    return 0 if length < 3 else 1 if length < 7 else 2


def hash_key(text: str) -> int:
    """31-bit CRC: keys are stored as integers, a collision costs one useless candidate."""
    return zlib.crc32(text.encode("utf-8", "replace")) & 0x7FFFFFFF


_SOUND_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?:ault|auld|aud|aut|aux|eaux|eau|au|ot|os|od)$", "o"),
        (r"eaux?|au", "o"),
        (r"ph", "f"),
        (r"[cs]ch|[cs]h", "$"),
        (r"g(?=[eiy])", "j"),
        (r"gu(?=[eiy])", "g"),
        (r"c(?=[eiy])", "s"),
        (r"qu|q|ck|c", "k"),
        (r"h", ""),
        (r"w", "v"),
        (r"[ae][iy]", "e"),
        (r"ou", "u"),
        (r"[yj](?![aeiou])", "i"),
        (r"ie$", "i"),
        (r"n+es?$", "N"),  # Martine is heard, Martin is not
        (r"(.)\1+", r"\1"),
        (r"(?<=.{2})(?:[stdxz]+|es?)$", ""),
        (r"z", "s"),
    )
)


@lru_cache(maxsize=4096)
def sound(word: str) -> str:
    """Rough French sound of a folded word, ``""`` where it has too few letters to tell.

    ``paul`` and ``pol``, ``mathieu`` and ``matthieu``, ``thibault`` and ``tibo`` are alike. A cut
    of the rules of Phonex (Brouard 1999), which adapts Soundex to French spelling.
    """
    if len(word) < 3 or not word.isascii():
        return ""
    for pattern, replacement in _SOUND_RULES:
        word = pattern.sub(replacement, word)
    return word if len(word) > 1 else ""


def index_hashes(word: str) -> set[int]:
    """Keys under which ``word`` is found: deletion neighbourhood and sound."""
    keys = deletions(word, typos_allowed(word))
    heard = sound(word)
    return {hash_key(key) for key in keys} | ({hash_key("~" + heard)} if heard else set())


def sound_hash(word: str) -> int | None:
    """The key of :func:`index_hashes` that stands for the sound, if the word has one."""
    heard = sound(word)
    return hash_key("~" + heard) if heard else None


def similarity(typed: str, known: str, same_sound: bool = False) -> float:
    """0 (unlike) to 1 (equal) between two folded words.

    Anything farther than the edits allowed for the shorter word is 0, unless it sounds the same.
    """
    if typed == known:
        return 1.0
    allowed = min(typos_allowed(typed), typos_allowed(known))
    distance = OSA.distance(typed, known, score_cutoff=allowed)
    score = 1.0 - distance / max(len(typed), len(known)) if distance <= allowed else 0.0
    return max(score, _SAME_SOUND) if same_sound else score


@dataclass(frozen=True)
class Closeness:
    """How like a typed word and a known one are (0 to 1), and whether they sound the same."""

    score: float
    same_sound: bool


# --- names of people -----------------------------------------------------------------------------


def _is_minor(word: str) -> bool:
    return word in PARTICLES or len(word) == 1


@dataclass(frozen=True)
class NamePart:
    """First or last name: its words, and which of them a question must name."""

    words: tuple[str, ...]
    required: frozenset[int]

    @property
    def joined(self) -> str:
        return "".join(self.words)[:_MAX_KEY]

    def targets(self, start: int) -> list[tuple[str, frozenset[int]]]:
        """Each word, and the part as one word, with the positions covered from ``start`` on."""
        found = [(word, frozenset((start + i,))) for i, word in enumerate(self.words)]
        if len(found) > 1:
            found.append((self.joined, frozenset(range(start, start + len(found)))))
        return found


@lru_cache(maxsize=4096)
def name_part(text: str) -> NamePart:
    """Split a first or a last name."""
    found = tuple(words(text))
    major = frozenset(i for i, word in enumerate(found) if not _is_minor(word))
    return NamePart(found, major or frozenset(range(len(found))))


def name_key(first_name: str, last_name: str) -> str:
    """Key of the whole name, whatever its order, hyphens, apostrophes and spaces."""
    return _whole_key(words(first_name), words(last_name))


def _whole_key(one: Sequence[str], other: Sequence[str]) -> str:
    return " ".join(sorted(("".join(one)[:_MAX_KEY], "".join(other)[:_MAX_KEY])))[: 2 * _MAX_KEY]


def query_name_keys(tokens: Sequence[str]) -> list[str]:
    """The keys that a typed name may have: every cut into a first and a last part."""
    return sorted({_whole_key(tokens[:i], tokens[i:]) for i in range(1, len(tokens))})


def name_tokens(first_name: str, last_name: str) -> dict[str, int]:
    """Tokens under which a person is found, with role 0 (last name) or 1 (first name).

    Required words of each part, and the part written as one word (``legoff``, ``ndiaye``).
    """
    tokens: dict[str, int] = {}
    for role, part in ((1, name_part(first_name)), (0, name_part(last_name))):
        for token in [part.words[i] for i in part.required] + [part.joined]:
            if token:
                tokens[token] = role
    return tokens


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _sort_code(text: str, length: int) -> int:
    code = 0
    letters = "".join(words(text))[:length].ljust(length)
    for char in letters:
        rank = 0 if char == " " else _LETTERS.find(char) + 1 or 27 + min(ord(char) >> 13, 4)
        code = code << 5 | rank
    return code


def name_order(first_name: str, last_name: str) -> int:
    """60-bit sort key: eight letters of the last name, then four of the first.

    An integer sorts the same on every engine, whatever its collation, and is a third of the size.
    """
    return _sort_code(last_name, 8) << 20 | _sort_code(first_name, 4)


@dataclass(frozen=True)
class Question:
    """A typed name: its tokens, and which of them count (neither particles nor titles).

    ``units`` are the tokens and the runs of two or three written as one word (``le goff`` as
    ``legoff``), each with the positions of the tokens that it uses.
    """

    tokens: tuple[str, ...]
    content: frozenset[int]
    units: tuple[tuple[str, frozenset[int]], ...]

    @classmethod
    def of(cls, text: str) -> Question:
        """Split what was typed."""
        found = words(clean(text))
        named = [word for word in found if word not in HONORIFICS] or found
        tokens = tuple(named[:MAX_QUERY_TOKENS])
        content = frozenset(i for i, word in enumerate(tokens) if not _is_minor(word))
        units = (
            ("".join(tokens[i : i + size]), frozenset(range(i, i + size)))
            for size in (1, 2, 3)
            for i in range(len(tokens) - size + 1)
        )
        return cls(tokens, content or frozenset(range(len(tokens))), tuple(units))


@dataclass(frozen=True)
class NameMatch:
    """How well a question names a person.

    ``grade``: 0 the whole name exactly, 1 words of the name exactly, 2 the whole name with typos,
    3 part of it with typos, 4 not surely this person. ``score`` (0 to 1, higher is closer) orders
    people of the same grade.
    """

    grade: int
    score: float
    last_name_hit: bool


CONFIDENT_GRADE = 3
_CONFIDENT_SCORE = 0.8


def match_name(
    question: Question,
    first_name: str,
    last_name: str,
    close: Mapping[tuple[str, str], Closeness],
    known_words: Collection[str],
) -> NameMatch:
    """Grade how well ``question`` names this person.

    ``close`` tells typed and known words that are alike without being equal. ``known_words`` are
    the typed words that are somebody's name as they stand: such a word is no typo (Julien is not
    Julie), it only passes for another one that sounds the same.
    """
    first, last = name_part(first_name), name_part(last_name)
    offset = len(first.words)
    required = first.required | {i + offset for i in last.required}
    targets = first.targets(0) + last.targets(offset)

    pairs: list[tuple[float, int, int, frozenset[int], frozenset[int], bool]] = []
    for typed, used in question.units:
        for known, covered in targets:
            score, typo = 1.0, False
            if typed != known:
                alike = close.get((typed, known))
                if alike is None:
                    continue
                score = alike.score
                typo = typed in known_words and not alike.same_sound
            # Same place in the name first, so that repeated words are not crossed.
            gap = -abs(min(used) - min(covered))
            pairs.append((score, len(used) + len(covered), gap, used, covered, typo))
    pairs.sort(key=lambda pair: pair[:3], reverse=True)

    used_tokens: dict[int, float] = {}
    covered_words: dict[int, float] = {}
    doubtful = False
    for score, _, _, used, covered, typo in pairs:
        if used.isdisjoint(used_tokens) and covered.isdisjoint(covered_words):
            used_tokens.update(dict.fromkeys(used, score))
            covered_words.update(dict.fromkeys(covered, score))
            doubtful = doubtful or (typo and not used.isdisjoint(question.content))

    whole = required <= covered_words.keys()
    all_used = question.content <= used_tokens.keys()
    scores = [used_tokens.get(i, 0.0) for i in question.content]
    heard = sum(scores) / len(scores) if scores else 0.0
    named = sum(covered_words.get(i, 0.0) for i in required) / len(required) if required else 0.0
    covered_scores = [covered_words.get(i, 0.0) for i in required if i in covered_words]
    exact = bool(covered_scores) and min(covered_scores) == 1.0
    total = 0.5 * heard + 0.4 * named + 0.1 * len(used_tokens) / len(question.tokens)
    last_hit = any(i >= offset for i in covered_words)

    if whole and exact:
        grade = 0
    elif all_used and exact and all(score == 1.0 for score in scores):
        grade = 1
    elif doubtful or (named if whole else heard) < _CONFIDENT_SCORE:
        grade = 4
    elif whole:
        grade = 2
    elif all_used:
        grade = 3
    else:
        grade = 4
    return NameMatch(grade, total, last_hit)


# --- job titles and biographies ------------------------------------------------------------------

# fmt: off
_STOP_WORDS = PARTICLES | frozenset((
    "a", "au", "aux", "en", "et", "ou", "un", "une", "sur", "dans", "par", "pour", "chez", "avec",
    "ses", "son", "sa", "ce", "qui", "que", "the", "of",
))
# fmt: on
_MAX_STEM = 40
_STEM_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=..)[sx]$", ""),
        (r"euse$", "eur"),
        (r"trice$", "teur"),
        (r"(?<=..)e+$", ""),
        (r"([^aeiou])\1$", r"\1"),
    )
)


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """A folded word without number and gender: ``developpeuses`` gives ``developpeur``."""
    for pattern, replacement in _STEM_RULES:
        word = pattern.sub(replacement, word)
    return word[:_MAX_STEM]


def stems(text: str) -> list[str]:
    """The stems of the words of a title or a biography, without joining words, each once."""
    return unique(stem(word) for word in words(text) if word not in _STOP_WORDS)


def contact_key(text: str) -> str:
    """An e-mail address without case, or the last nine digits of a telephone number."""
    if "@" in text:
        return text.strip().lower()[:_MAX_KEY]
    return re.sub(r"\D", "", text)[-9:]


TITLE, BIOGRAPHY, CONTACT = range(3)


def index_words(
    job_title: str, biography: str | None, email: str | None, phone: str | None
) -> list[tuple[str, int]]:
    """The words by which a person is found, each with the field that it is from."""
    contacts = [contact_key(text) for text in (email, phone) if text]
    fields = {TITLE: stems(job_title), BIOGRAPHY: stems(biography or ""), CONTACT: unique(contacts)}
    return [(word, field) for field, found in fields.items() for word in found if word]


# --- skills --------------------------------------------------------------------------------------


@lru_cache(maxsize=16384)
def skill_key(text: str) -> str:
    """Folded skill name with single spaces; signs stay (``c++``, ``c#``, ``.net``)."""
    return " ".join(_fold(text).split())[:_MAX_KEY]


def squash(key: str) -> str:
    """``key`` without the signs and spaces that people drop (``nodejs`` for ``Node.js``).

    ``+`` and ``#`` stay, they tell C, C++ and C# apart.
    """
    return re.sub(r"[^\w+#]|_", "", key)


def squashed_key(key: str) -> str:
    """``key`` squashed; as it stands where it is all signs."""
    return squash(key) or key


def skill_words(key: str) -> list[str]:
    """Words of a skill, to find those that resemble it; joining words are left out."""
    return [word for word in re.findall(r"[\w+#]+", key) if len(word) > 2 or word in {"c#", "f#"}]


def skill_hashes(key: str) -> set[int]:
    """Keys under which a skill is found: typos of the squashed name, and its words."""
    squashed = squashed_key(key)
    keys = {":" + item for item in deletions(squashed, typos_allowed(squashed))}
    keys |= {"/" + word for word in skill_words(key)}
    return {hash_key(item) for item in keys}


def skill_query_hashes(key: str) -> tuple[set[int], set[int]]:
    """Keys to look up for typos of ``key``, and for skills that share a word with it."""
    squashed = squashed_key(key)
    return (
        {hash_key(":" + item) for item in deletions(squashed, typos_allowed(squashed))},
        {hash_key("/" + word) for word in skill_words(key)},
    )


def is_skill_typo(typed: str, known: str) -> float:
    """How surely squashed ``typed`` is a slip for ``known``, 0 where it is not.

    Digits and signs are never a slip: Java 17 is not Java 11, and C++ is not C. Short names are too
    close to each other for more than a letter dropped, doubled or swapped: MSSQL is not MySQL.
    """
    if re.sub(r"[^\d+#]", "", typed) != re.sub(r"[^\d+#]", "", known):
        return 0.0
    shorter = min(len(typed), len(known))
    replaced = len(typed) == len(known) and sorted(typed) != sorted(known)
    if shorter < 5 or (shorter < 7 and (replaced or typed[0] != known[0])):
        return 0.0
    allowed = min(typos_allowed(typed), typos_allowed(known))
    distance = OSA.distance(typed, known, score_cutoff=allowed)
    return 1.0 - distance / max(len(typed), len(known)) if distance <= allowed else 0.0


_VERSION = re.compile(r"(?:\s+v?\.?|(?<=[a-z]{3})v?)\d+(?:\.\w+)*[a-z]?(?:\s+(?:r\d|lts))?$")


def without_version(key: str) -> str:
    """``"java 17"`` gives ``"java"``; ``""`` where there is no version or nothing before it."""
    base = _VERSION.sub("", key)
    return base if base != key and base else ""


@lru_cache(maxsize=16384)
def loose_key(key: str) -> str:
    """``key`` without number and joining words: one for ``gestion de projet(s)``.

    It begins with ``~``, so that it is never taken for another name as it stands.
    """
    found = [_singular(word) for word in re.findall(r"[\w+#]+", key) if word not in _STOP_WORDS]
    joined = "".join(found)
    return "~" + joined if joined else ""


def _singular(word: str) -> str:
    if len(word) < 5 or not word.isalpha():
        return word
    return re.sub(r"(?<!s)s$", "", re.sub(r"aux$", "al", re.sub(r"eaux$", "eau", word)))


@lru_cache(maxsize=1024)
def agency_key(text: str) -> str:
    """Folded agency name without hyphens and apostrophes."""
    return " ".join(words(text))[:_MAX_KEY]


def unique(items: Iterable[_T]) -> list[_T]:
    """``items`` without repeats, in order."""
    return list(dict.fromkeys(items))
