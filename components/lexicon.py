"""Known names and words.

An index of names: exact matches whatever the spelling, and near matches for typos. And which words
are French: what tells a name that nobody listed from a word that nobody taught.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import regex
from rapidfuzz import process
from rapidfuzz.distance import OSA
from rasa.nlu.utils.pattern_utils import read_lookup_table_file
from rasa.shared.nlu.training_data.training_data import TrainingData

from common.text import fold
from components.tokenizer import APOSTROPHES, token_spans

logger = logging.getLogger(__name__)

# Signs that people leave out, add or mix up inside a name: Spring-Boot, CI/CD, Node.js.
_SEPARATORS = regex.compile(rf"[\s\-_/.&{APOSTROPHES}]")

# What tells C++ from C.
_NO_SIGN = regex.compile(r"[^+#@*%$]+")

# Names written in one word are recognised in several (« power shell », « open shift ») and the
# other way round only from this length on: « ta us si » is not TAUSSI.
_MIN_JOINED = 5


class Name(NamedTuple):
    """What a spelling stands for: an entity and its canonical value."""

    entity: str
    value: str


class Match(NamedTuple):
    """A name found in words ``first`` to ``last`` (excluded); ``distance`` 0 is exact."""

    first: int
    last: int
    name: Name
    distance: int = 0


def word_key(word: str) -> str:
    """Return ``word`` as the index knows it: ``nodejs`` for ``Node.JS``, ``.net`` for ``.NET``."""
    folded = fold(word)
    return folded[:1].replace("-", "") + _SEPARATORS.sub("", folded[1:])


def word_set(words: str) -> frozenset[str]:
    """Return the words of a blank-separated list."""
    return frozenset(words.split())


def join_keys(keys: Sequence[str]) -> str:
    """Return the key of several words in a row."""
    return keys[0] + "".join(key.lstrip(".") for key in keys[1:])


def typo_budget(length: int) -> int:
    """Return how many edits a name of ``length`` characters may be off.

    One from five characters on and two from nine on: the rule of Elasticsearch's ``AUTO``
    fuzziness, shifted up, since short French words lie close together.
    """
    return 0 if length < 5 else 1 if length < 9 else 2


class Lexicon:
    """Canonical values and their variants by entity.

    Args:
        spellings: for each entity, ``{spelling: canonical value}``; a canonical value is a
            spelling of its own.
    """

    def __init__(self, spellings: Mapping[str, Mapping[str, str]]) -> None:
        self.spellings = {entity: dict(names) for entity, names in spellings.items()}
        # key -> name -> in how many words it is written
        self._exact: dict[str, dict[Name, set[int]]] = defaultdict(dict)
        self.max_words = 1
        for entity, names in self.spellings.items():
            for spelling, value in names.items():
                keys = [word_key(spelling[start:end]) for start, end in token_spans(spelling)]
                # "c ++" would be kept as "c": a name that loses a sign is no name.
                if not any(keys) or _signs(spelling) != _signs("".join(keys)):
                    continue
                self._exact[join_keys(keys)].setdefault(Name(entity, value), set()).add(len(keys))
                self.max_words = max(self.max_words, len(keys))
        # One typo leaves the first or the last letters as they are, and two nearly always, so that
        # these lists hold all the candidates: some dozens of 5 000 names.
        self._near: dict[tuple[str, int], list[str]] = defaultdict(list)
        for key in self._exact:
            if typo_budget(len(key)):
                for end in _ends(key, len(key)):
                    self._near[end, len(key)].append(key)

    @classmethod
    def from_training_data(
        cls, training_data: TrainingData, entities: Iterable[str] | None = None
    ) -> Lexicon:
        """Build the lexicon of the lookup tables and synonyms of ``training_data``.

        A synonym belongs to the entity whose lookup table holds its canonical value.

        Args:
            training_data: read by Rasa.
            entities: names of the lookup tables to use; all of them by default.
        """
        spellings: dict[str, dict[str, str]] = {}
        for table in training_data.lookup_tables:
            if entities is None or table["name"] in entities:
                elements = table["elements"]
                if isinstance(elements, str):
                    elements = read_lookup_table_file(elements)
                names = spellings.setdefault(table["name"], {})
                names.update((str(element), str(element)) for element in elements)
        for variant, value in training_data.entity_synonyms.items():
            for names in spellings.values():
                if names.get(value) == value:
                    names.setdefault(str(variant), value)
        return cls(spellings)

    @property
    def entities(self) -> tuple[str, ...]:
        """The entities that the lexicon knows names of."""
        return tuple(self.spellings)

    def values(self, entity: str) -> set[str]:
        """Return the canonical values of ``entity``."""
        return set(self.spellings.get(entity, {}).values())

    def __len__(self) -> int:
        return len(self._exact)

    def lookup(self, keys: Sequence[str]) -> list[Name]:
        """Return what the words with these keys, taken together, stand for exactly."""
        key = join_keys(keys)
        return [
            name
            for name, counts in self._exact.get(key, {}).items()
            if len(keys) in counts or len(key) >= _MIN_JOINED
        ]

    def exact_matches(self, keys: Sequence[str]) -> Iterator[Match]:
        """Yield every exact match in a text, given the keys of its words."""
        for first in range(len(keys)):
            for last in range(first + 1, min(len(keys), first + self.max_words) + 1):
                for name in self.lookup(keys[first:last]):
                    yield Match(first, last, name)

    def nearest(
        self,
        key: str,
        accept: Callable[[Name], bool] = lambda name: True,
        budget: int | None = None,
    ) -> tuple[Name, int] | None:
        """Return the name nearest to ``key`` and its distance, or None.

        The distance is optimal string alignment (Damerau-Levenshtein without overlaps), so that
        two letters in the wrong order count once. None also when two values are equally near.

        Args:
            key: of one word or several joined.
            accept: which names may be returned.
            budget: the greatest distance; by default :func:`typo_budget` of the length.
        """
        budget = typo_budget(len(key)) if budget is None else budget
        if not budget:
            return None
        best: set[Name] = set()
        best_distance = budget
        for length in range(len(key) - budget, len(key) + budget + 1):
            # The shorter of the two decides how much is a typo.
            allowed = min(budget, max(1, typo_budget(length)))
            for end in _ends(key, length):
                candidates = self._near.get((end, length))
                if not candidates:
                    continue
                cutoff = min(allowed, best_distance)
                for candidate, distance, _ in process.extract(
                    key, candidates, scorer=OSA.distance, score_cutoff=cutoff, limit=None
                ):
                    names = {name for name in self._exact[candidate] if accept(name)}
                    if names and distance < best_distance:
                        best, best_distance = names, distance
                    elif distance == best_distance:
                        best |= names
        return (next(iter(best)), best_distance) if len(best) == 1 else None

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` needs."""
        return {"spellings": self.spellings}

    @classmethod
    def from_json(cls, data: Any) -> Lexicon:
        """Rebuild a lexicon; raises ValueError if ``data`` is none."""
        spellings = data.get("spellings") if isinstance(data, dict) else None
        if not isinstance(spellings, dict) or not all(
            isinstance(names, dict)
            and all(isinstance(text, str) for pair in names.items() for text in pair)
            for names in spellings.values()
        ):
            raise ValueError("no spellings by entity")
        return cls(spellings)


def _ends(key: str, length: int) -> tuple[str, str]:
    """The first and last letters by which names of ``length`` characters are listed."""
    count = 3 if length >= 7 else 2
    return "^" + key[:count], key[-count:] + "$"


def _signs(text: str) -> str:
    """The signs of a spelling that tell it from others: the ++ of C++."""
    return _NO_SIGN.sub("", text)


# --- which words are French

# Everyday words are those of the first ranks; what is listed with the least frequency of all are
# inflections that somebody generated.
_EVERYDAY = 5000


def word_list_path() -> Path | None:
    """Return the French frequency list of pyspellchecker, which training needs; None without it.

    139 905 forms with their counts in film subtitles, MIT licence, without names of people.
    """
    spec = importlib.util.find_spec("spellchecker")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "resources" / "fr.json.gz"
    return path if path.is_file() else None


@lru_cache(maxsize=1)
def french_words() -> dict[str, int]:
    """Return how familiar French words are, by ``word_key``: 3 everyday, 2 known, 1 rare form.

    Empty, with a warning, where pyspellchecker is not installed.
    """
    counts = _by_frequency()
    least = min(counts.values(), default=0)
    familiar: dict[str, int] = {}
    for rank, (word, count) in enumerate(counts.items()):
        level = 3 if rank < _EVERYDAY else 2 if count > least else 1
        familiar.setdefault(word_key(word), level)
    return familiar


def commonest_words(count: int) -> frozenset[str]:
    """Return the ``count`` most frequent French words, by ``word_key``; none without the list."""
    return frozenset(map(word_key, islice(_by_frequency(), count)))


@lru_cache(maxsize=1)
def _by_frequency() -> dict[str, int]:
    """Return how often each form occurs, the most frequent first."""
    path = word_list_path()
    if path is None:
        logger.warning(
            "pyspellchecker is not installed: without its list of French words, names that are in "
            "no list are found less well. Install it with: pip install 'skills-bot[train]'."
        )
        return {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        counts: dict[str, int] = json.load(file)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def pack(familiar: Mapping[str, int]) -> dict[str, str]:
    """Return a compact form of :func:`french_words` for JSON."""
    levels: dict[str, list[str]] = defaultdict(list)
    for word, level in familiar.items():
        levels[str(level)].append(word)
    return {level: " ".join(sorted(words)) for level, words in levels.items()}


def unpack(packed: Mapping[str, str]) -> dict[str, int]:
    """Undo :func:`pack`."""
    return {word: int(level) for level, words in packed.items() for word in words.split(" ")}
