"""Which words are French: what tells a name that nobody listed from a word that nobody taught."""

from __future__ import annotations

import gzip
import importlib.util
import json
import logging
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from components.lexicon import word_key

logger = logging.getLogger(__name__)

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
    counts = _counts()
    least = min(counts.values(), default=0)
    familiar: dict[str, int] = {}
    for rank, word in enumerate(_by_frequency(counts)):
        level = 3 if rank < _EVERYDAY else 2 if counts[word] > least else 1
        familiar.setdefault(word_key(word), level)
    return familiar


@lru_cache(maxsize=1)
def commonest_words(count: int) -> frozenset[str]:
    """Return the ``count`` most frequent French words, by ``word_key``; none without the list."""
    return frozenset(word_key(word) for word in _by_frequency(_counts())[:count])


def _by_frequency(counts: Mapping[str, int]) -> list[str]:
    return sorted(counts, key=lambda word: (-counts[word], word))


def _counts() -> Mapping[str, int]:
    path = word_list_path()
    if path is None:
        logger.warning(
            "pyspellchecker is not installed: without its list of French words, names that are in "
            "no list are found less well. Install it with: pip install 'skills-bot[train]'."
        )
        return {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        counts: Mapping[str, int] = json.load(file)
    return counts


def pack(familiar: Mapping[str, int]) -> dict[str, str]:
    """Return a compact form of :func:`french_words` for JSON."""
    levels: dict[str, list[str]] = defaultdict(list)
    for word, level in familiar.items():
        levels[str(level)].append(word)
    return {level: " ".join(sorted(words)) for level, words in levels.items()}


def unpack(packed: Mapping[str, str]) -> dict[str, int]:
    """Undo :func:`pack`."""
    return {word: int(level) for level, words in packed.items() for word in words.split(" ")}
