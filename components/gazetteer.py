"""Finds known names in a message, whatever their spelling, and gives every entity its value."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import regex
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.constants import ENTITY_ATTRIBUTE_CONFIDENCE_TYPE
from rasa.nlu.extractors.extractor import EntityExtractorMixin
from rasa.shared.constants import INTENT_MESSAGE_PREFIX
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.constants import (
    ENTITIES,
    ENTITY_ATTRIBUTE_END,
    ENTITY_ATTRIBUTE_START,
    ENTITY_ATTRIBUTE_TYPE,
    ENTITY_ATTRIBUTE_VALUE,
    EXTRACTOR,
    TEXT,
)
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from common.config import Rule, integer, optional, unknown_name
from common.text import fold
from components.component import TrainableComponent, source_fingerprint
from components.lexicon import (
    Lexicon,
    Match,
    commonest_words,
    join_keys,
    typo_budget,
    word_key,
    word_set,
)
from components.tokenizer import APOSTROPHES, token_spans

logger = logging.getLogger(__name__)

_FORMAT = 2
# The most frequent French words, which are no typos of a name unless another extractor saw one.
_FRENCH_WORDS = 15_000

# After a known technology: 17, v17, 3.11, 17.x, 19c. « Java 5 ans » counts years.
# « 4+ » and « 4/5 » are levels.
_VERSION = regex.compile(r"(?![1-5]\+)v?\d{1,4}(?:[.,]\d{1,4}|\.x)*[a-z]?\+?", regex.IGNORECASE)
_LEVEL = regex.compile(r"[1-5](?:\+|/5)")
_NAME_AND_VERSION = regex.compile(r"(\D{3,}?)v?\d+x?\+?")
_COUNTED = regex.compile(
    r"\s*(?:ans?|annees?|mois|jours?|semaines?|heures?|fois|personnes?|gens|devs?|developpeu\w+|"
    r"experts?|collaborateurs?|collegues?|pros?|points?|etoiles?|sur\s+\d|%|€|h\b)\b"
)

# Words that no name begins or ends with; a title tells that a name follows and is none itself.
_TITLES = word_set(
    "m mr mrs ms mme mlle mgr dr pr me monsieur madame mademoiselle docteur cher chere bonjour "
    "bonsoir salut coucou hello bjr slt"
)
_EDGES = word_set(
    "a au aux avec chez dans de du des d en et ou par pour sur the l le la les un une qu que qui "
    "svp stp merci please"
)
# Particles belong to a name that follows them: « de Gaulle », « le Gall », « d'Ormesson ».
_PARTICLES = word_set("de du des d le la les l van von der den ben bin el al o mac mc")

# What stands in front of the name of a technology written as one capital letter: « en C ».
_BEFORE_NAME = word_set("en du de d sur le l la avec et ou faire fait fais langage code coder")


class _Word(NamedTuple):
    start: int
    end: int
    key: str


def _entity_list() -> Rule:
    return Rule(
        "a list of entity names",
        lambda value: (
            isinstance(value, (list, tuple))
            and all(isinstance(name, str) and name for name in value)
        ),
    )


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.ENTITY_EXTRACTOR, is_trainable=True)
class GazetteerEntityExtractor(TrainableComponent, EntityExtractorMixin):
    """Extracts names of lookup tables and their synonyms; the last word on every entity.

    Case, accents, hyphens and small typos are forgiven; ``C++``, ``C#`` and ``.NET`` are names
    like others, and a version number belongs to the name in front of it. What earlier extractors
    found is cleaned, merged with what the lookup tables know (the longer one stays, the
    gazetteer's on a tie) and given its canonical value.
    """

    FILES = ("gazetteer.json",)
    RULES: ClassVar[Mapping[str, Rule]] = {
        "entities": optional(_entity_list()),
        "fuzzy": _entity_list(),
        "confirm": _entity_list(),
        "stands_for": Rule(
            "a mapping of entity names to entity names",
            lambda value: (
                isinstance(value, dict)
                and all(isinstance(name, str) for pair in value.items() for name in pair)
            ),
        ),
        "min_length": integer(1, 50),
        "min_fuzzy_length": integer(3, 50),
        "max_characters": optional(integer(1)),
    }

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """Return the defaults."""
        return {
            # Lookup tables to use; None: all that the training data has annotated examples of.
            "entities": None,
            # Entities of which a name may contain typos.
            "fuzzy": ["technology", "agency", "job_title"],
            # Entities whose names are everyday words: an earlier extractor must have seen one.
            "confirm": ["detail", "reference", "more", "follow_up", "rank"],
            # « il » stands for somebody who is not named: dropped where the message names a person.
            "stands_for": {"reference": "person"},
            # Shorter names (C, R, Go) count only where an earlier extractor saw the same entity,
            # or written as they should be and after a word such as « en ».
            "min_length": 3,
            # From this many characters on a name with a typo is recognised without the help of an
            # earlier extractor.
            "min_fuzzy_length": 6,
            # Text after that is not looked at (None: no limit).
            "max_characters": 5000,
        }

    def __init__(
        self, config: dict[str, Any], model_storage: ModelStorage, resource: Resource
    ) -> None:
        """Create an untrained extractor (see parent class)."""
        super().__init__(config, model_storage, resource)
        self._fuzzy = frozenset(self.config["fuzzy"])
        self._confirm = frozenset(self.config["confirm"])
        self._stands_for: dict[str, str] = dict(self.config["stands_for"])
        self._min_length: int = self.config["min_length"]
        self._min_fuzzy_length: int = self.config["min_fuzzy_length"]
        self._max_characters: int | None = self.config["max_characters"]
        self._lexicon = Lexicon({})
        # Keys of words that are no typos of a name (see ``word_key``).
        self._ordinary: frozenset[str] = frozenset()
        # Keys of French words: « conférence » is no « Confluence ».
        self._french: frozenset[str] = frozenset()

    @classmethod
    def fingerprint_addon(cls, config: dict[str, Any]) -> str | None:
        """Return a digest of the helper modules."""
        return source_fingerprint(
            __name__,
            "common.text",
            "components.lexicon",
            "components.tokenizer",
        )

    def train(self, training_data: TrainingData) -> Resource:
        """Learn the lookup tables, synonyms and ordinary words of the training data.

        Raises:
            InvalidConfigException: ``entities`` names a lookup table that does not exist.
        """
        tables = {table["name"] for table in training_data.lookup_tables}
        wanted = self.config["entities"]
        for name in wanted or ():
            if name not in tables:
                raise InvalidConfigException(
                    f"{type(self).__name__}: the training data has no lookup table '{name}' "
                    f"(key 'entities'). {unknown_name(name, tables)}"
                )
        # A table that is no entity (a list for a featurizer) is nothing to extract.
        names = tables & training_data.entities if wanted is None else wanted
        self._lexicon = Lexicon.from_training_data(training_data, names)
        self._ordinary = frozenset(_ordinary_words(training_data))
        self._french = commonest_words(_FRENCH_WORDS)
        self._persist()
        return self._resource

    def _persist(self) -> None:
        data = {
            "format": _FORMAT,
            "lexicon": self._lexicon.to_json(),
            "ordinary": sorted(self._ordinary),
            "french": sorted(self._french),
        }
        text = json.dumps(data, ensure_ascii=False, indent=0)
        with self._model_storage.write_to(self._resource) as directory:
            # Whole or not at all: a reader never meets half a file.
            partial = directory / "gazetteer.json.part"
            partial.write_text(text, encoding="utf-8")
            partial.replace(directory / "gazetteer.json")

    def _read(self, folder: Path) -> None:
        data = json.loads((folder / "gazetteer.json").read_text(encoding="utf-8"))
        if data["format"] != _FORMAT:
            raise ValueError(f"format {data['format']}, this version reads {_FORMAT}")
        self._lexicon = Lexicon.from_json(data["lexicon"])
        self._ordinary = frozenset(str(word) for word in data["ordinary"])
        self._french = frozenset(str(word) for word in data["french"])

    def _nothing_stored(self) -> None:
        raise self._damaged("it is missing")

    def process(self, messages: list[Message]) -> list[Message]:
        """Set the final entities of each message; never raises."""
        for message in messages:
            text = message.get(TEXT)
            entities = list(message.get(ENTITIES) or [])
            # RegexMessageHandler reads the entities of a button's payload.
            if isinstance(text, str) and text and not text.startswith(INTENT_MESSAGE_PREFIX):
                try:
                    entities = self.extract(text, entities)
                except Exception:
                    logger.exception("%s could not read a message.", self.name)
            message.set(ENTITIES, entities, add_to_output=True)
        return messages

    def extract(self, text: str, earlier: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
        """Return the entities of ``text``, in order and without overlaps.

        Args:
            text: as the user typed it; offsets refer to it.
            earlier: what earlier extractors found in it.
        """
        head = text if self._max_characters is None else text[: self._max_characters]
        words = [_Word(start, end, word_key(head[start:end])) for start, end in token_spans(head)]
        known = [_cleaned(text, entity) for entity in _joined(text, earlier)]
        known = [entity for entity in known if entity[ENTITY_ATTRIBUTE_START] < entity["end"]]
        found = [self._entity(text, words, match) for match in self._matches(text, words, known)]
        kept = _resolved(text, found, known)
        kinds = {entity[ENTITY_ATTRIBUTE_TYPE] for entity in kept}
        kept = [
            entity
            for entity in kept
            if self._stands_for.get(entity[ENTITY_ATTRIBUTE_TYPE]) not in kinds
        ]
        return [self._with_value(text, entity) for entity in kept]

    def _matches(
        self, text: str, words: Sequence[_Word], known: Sequence[dict[str, Any]]
    ) -> list[Match]:
        """The names in a text: exact ones first, the longest first, then those with a typo."""
        keys = [word.key for word in words]
        taken = [False] * len(words)
        matches: list[Match] = []

        def take(match: Match) -> None:
            if not any(taken[match.first : match.last]):
                taken[match.first : match.last] = [True] * (match.last - match.first)
                matches.append(match)

        exact = [
            match
            for match in self._lexicon.exact_matches(keys)
            if self._credible(text, words, known, match)
        ]
        for match in sorted(exact, key=lambda m: (m.first - m.last, not _seen(words, known, m))):
            take(self._with_version(text, words, match))
        for index, key in enumerate(keys):
            # « java17 », « python3.11 »: the version is written without a space.
            base = _NAME_AND_VERSION.fullmatch(key)
            if base and not taken[index]:
                for name in self._lexicon.lookup([base[1]]):
                    if name.entity in self._fuzzy:
                        take(Match(index, index + 1, name))
        for count in (2, 1):
            for first in range(len(words) - count + 1):
                if not any(taken[first : first + count]):
                    near = self._typo(words, known, first, first + count)
                    if near:
                        take(self._with_version(text, words, near))
        return matches

    def _credible(
        self, text: str, words: Sequence[_Word], known: Sequence[dict[str, Any]], match: Match
    ) -> bool:
        """Whether an exact match is more than an everyday word that looks like a name."""
        everyday = match.name.entity in self._confirm
        if _seen(words, known, match):
            # Which of these words belong to it, the context tells better than a list.
            return not everyday
        if match.last - match.first == len(words):
            # The message is the name and nothing else: « le deuxième », « Go ».
            return everyday or text.strip(" ?!.") != text.lower()
        if everyday:
            return False
        key = join_keys([word.key for word in words[match.first : match.last]])
        if len(key) >= self._min_length and key not in self._ordinary:
            return True
        written = text[words[match.first].start : words[match.last - 1].end]
        return (
            written == match.name.value
            and written[:1].isupper()
            and match.first > 0
            and words[match.first - 1].key in _BEFORE_NAME
        )

    def _typo(
        self, words: Sequence[_Word], known: Sequence[dict[str, Any]], first: int, last: int
    ) -> Match | None:
        """The name that a few words would be without their typos."""
        run = words[first:last]
        key = join_keys([word.key for word in run])
        if not 4 <= len(key) <= 40 or "@" in key:
            return None
        if len(run) > 1 and (run[0].key in _EDGES or run[-1].key in _EDGES):
            return None
        if all(word.key in self._ordinary or word.key in _EDGES for word in run):
            return None
        near = self._lexicon.nearest(key, lambda name: name.entity in self._fuzzy)
        if near is None:
            return None
        match = Match(first, last, *near)
        if _seen(words, known, match):
            return match
        overlapped = any(_overlap(run[0].start, run[-1].end, entity) for entity in known)
        if overlapped or len(key) < self._min_fuzzy_length or key in self._french:
            return None
        # Nobody else saw a name here: the first letter at least must be right.
        return match if word_key(near[0].value)[:1] == key[:1] else None

    def _with_version(self, text: str, words: Sequence[_Word], match: Match) -> Match:
        """Extend the match over the version number that follows."""
        if match.name.entity != "technology" or match.last >= len(words):
            return match
        here, following = words[match.last - 1], words[match.last]
        version = text[following.start : following.end]
        if (
            following.start - here.end <= 1
            and not text[here.end : following.start].strip(" -")
            and _VERSION.fullmatch(version)
            and not _COUNTED.match(fold(text[following.end : following.end + 20]))
        ):
            return match._replace(last=match.last + 1)
        return match

    def _entity(self, text: str, words: Sequence[_Word], match: Match) -> dict[str, Any]:
        start, end = words[match.first].start, words[match.last - 1].end
        return {
            ENTITY_ATTRIBUTE_TYPE: match.name.entity,
            ENTITY_ATTRIBUTE_START: start,
            ENTITY_ATTRIBUTE_END: end,
            ENTITY_ATTRIBUTE_VALUE: match.name.value,
            ENTITY_ATTRIBUTE_CONFIDENCE_TYPE: 1.0 - match.distance / (end - start + 1),
            EXTRACTOR: self.name,
        }

    def _with_value(self, text: str, entity: dict[str, Any]) -> dict[str, Any]:
        """Give an entity of an earlier extractor its canonical value, where there is one."""
        kind = entity[ENTITY_ATTRIBUTE_TYPE]
        if entity.get(EXTRACTOR) == self.name or kind not in self._lexicon.spellings:
            return entity
        span = text[entity[ENTITY_ATTRIBUTE_START] : entity[ENTITY_ATTRIBUTE_END]]
        value = self._value(kind, span)
        if value is None or value == entity.get(ENTITY_ATTRIBUTE_VALUE):
            return entity
        return self.add_processor_name({**entity, ENTITY_ATTRIBUTE_VALUE: value})

    def _value(self, kind: str, span: str) -> str | None:
        values = self._lexicon.values(kind)
        if len(values) == 1:
            # « et », « cette dernière »: whatever stands for it, it is the one value.
            return next(iter(values))
        keys = [word_key(span[start:end]) for start, end in token_spans(span)]
        if not keys:
            return None
        for name in self._lexicon.lookup(keys):
            if name.entity == kind:
                return name.value
        near = self._lexicon.nearest(
            join_keys(keys),
            lambda name: name.entity == kind,
            budget=max(typo_budget(len(join_keys(keys))), 1),
        )
        if near:
            return near[0].value
        if kind in self._confirm:
            # « son numéro de fixe » has no value of its own, its longest known part has.
            parts = [
                match for match in self._lexicon.exact_matches(keys) if match.name.entity == kind
            ]
            if parts:
                return max(parts, key=lambda part: part.last - part.first).name.value
            for key in keys:
                near = self._lexicon.nearest(key, lambda name: name.entity == kind)
                if near:
                    return near[0].value
        return None


def _overlap(start: int, end: int, entity: dict[str, Any]) -> bool:
    return start < entity[ENTITY_ATTRIBUTE_END] and entity[ENTITY_ATTRIBUTE_START] < end


def _seen(words: Sequence[_Word], known: Sequence[dict[str, Any]], match: Match) -> bool:
    """Whether an earlier extractor found the same entity there."""
    start, end = words[match.first].start, words[match.last - 1].end
    return any(
        entity[ENTITY_ATTRIBUTE_TYPE] == match.name.entity and _overlap(start, end, entity)
        for entity in known
    )


def _joined(text: str, entities: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join the pieces of one name: « Maëlys » and « Kerguelen », « Anne » and « Le Gall »."""
    result: list[dict[str, Any]] = []
    for entity in sorted(entities, key=lambda entity: entity[ENTITY_ATTRIBUTE_START]):
        last = result[-1] if result else None
        if (
            last is not None
            and last[ENTITY_ATTRIBUTE_TYPE] == entity[ENTITY_ATTRIBUTE_TYPE] == "person"
            and _inside_name(text[last[ENTITY_ATTRIBUTE_END] : entity[ENTITY_ATTRIBUTE_START]])
        ):
            end = max(last[ENTITY_ATTRIBUTE_END], entity[ENTITY_ATTRIBUTE_END])
            result[-1] = {
                **last,
                ENTITY_ATTRIBUTE_END: end,
                ENTITY_ATTRIBUTE_VALUE: text[last[ENTITY_ATTRIBUTE_START] : end],
                ENTITY_ATTRIBUTE_CONFIDENCE_TYPE: min(
                    float(piece.get(ENTITY_ATTRIBUTE_CONFIDENCE_TYPE, 1.0))
                    for piece in (last, entity)
                ),
            }
        else:
            result.append(dict(entity))
    return result


def _inside_name(gap: str) -> bool:
    """Whether what stands between two pieces of a name is part of it."""
    if gap.strip(f" -{APOSTROPHES}") == "":
        return "\n" not in gap
    parts = [fold(part) for part in regex.split(rf"[\s{APOSTROPHES}-]+", gap) if part]
    # « et », « ou », « à » stand between two people; a particle belongs to one.
    return len(parts) <= 2 and all(part in _PARTICLES - {"d", "des"} for part in parts)


def _cleaned(text: str, entity: dict[str, Any]) -> dict[str, Any]:
    """Return ``entity`` without titles, prepositions and punctuation at its edges."""
    kind = entity[ENTITY_ATTRIBUTE_TYPE]
    if kind not in ("person", "technology", "agency"):
        return entity
    start, end = entity[ENTITY_ATTRIBUTE_START], entity[ENTITY_ATTRIBUTE_END]
    span = text[start:end]
    if "@" in span or "://" in span:
        # An address is no name.
        return {**entity, ENTITY_ATTRIBUTE_END: start}
    words = [(a, b, word_key(span[a:b])) for a, b in token_spans(span)]
    leading = _EDGES | _TITLES if kind == "person" else _EDGES
    if kind == "person":
        leading = leading - _PARTICLES
    elif kind == "agency":
        leading = leading - {"le", "la", "les"}
    # One letter alone may be a name (C, R): only what surrounds a name is cut off.
    while len(words) > 1 and words[0][2] in leading:
        del words[0]
    while len(words) > 1 and (
        (words[-1][2] in _EDGES and len(words[-1][2]) > 1)
        or _LEVEL.fullmatch(span[words[-1][0] : words[-1][1]])
    ):
        del words[-1]
    if not words or (words[0][2] in leading and len(words[0][2]) > 1):
        return {**entity, ENTITY_ATTRIBUTE_END: start}
    new = (start + words[0][0], start + words[-1][1])
    if new == (start, end):
        return entity
    return {
        **entity,
        ENTITY_ATTRIBUTE_START: new[0],
        ENTITY_ATTRIBUTE_END: new[1],
        ENTITY_ATTRIBUTE_VALUE: text[new[0] : new[1]],
    }


def _resolved(
    text: str, found: Sequence[dict[str, Any]], known: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the entities that stay where some overlap, in the order of the text.

    The longest stays, the gazetteer's (``found``) on a tie. Several names that fill an entity of
    their own kind are a list that somebody wrote without commas: they stay instead of it. So does
    the one name behind words in small letters: « background machine learning ».
    """

    def is_more_than_a_name(entity: dict[str, Any]) -> bool:
        names = [
            name
            for name in found
            if entity[ENTITY_ATTRIBUTE_TYPE] == name[ENTITY_ATTRIBUTE_TYPE]
            and entity[ENTITY_ATTRIBUTE_START] <= name[ENTITY_ATTRIBUTE_START]
            and name[ENTITY_ATTRIBUTE_END] <= entity[ENTITY_ATTRIBUTE_END]
        ]
        if len(names) != 1:
            return len(names) > 1
        start = names[0][ENTITY_ATTRIBUTE_START]
        rest = text[entity[ENTITY_ATTRIBUTE_START] : start]
        # One word may be the end of an unknown name: « opaline cloud ».
        is_long = " " in text[start : names[0][ENTITY_ATTRIBUTE_END]]
        return is_long and bool(regex.fullmatch(r"(?:\p{Ll}{4,}\s+)+", rest))

    candidates = [*found, *[entity for entity in known if not is_more_than_a_name(entity)]]
    kept: list[dict[str, Any]] = []
    # The sort is stable: the gazetteer's come first among those of the same length.
    for entity in sorted(
        candidates, key=lambda e: e[ENTITY_ATTRIBUTE_START] - e[ENTITY_ATTRIBUTE_END]
    ):
        if not any(
            _overlap(entity[ENTITY_ATTRIBUTE_START], entity[ENTITY_ATTRIBUTE_END], other)
            for other in kept
        ):
            kept.append(entity)
    return sorted(kept, key=lambda entity: entity[ENTITY_ATTRIBUTE_START])


def _ordinary_words(training_data: TrainingData) -> set[str]:
    """Keys of the words that stand outside every entity, and of the names of people."""
    words: set[str] = set()
    for message in training_data.nlu_examples:
        text = message.get(TEXT) or ""
        names = [
            entity
            for entity in message.get(ENTITIES) or []
            if entity[ENTITY_ATTRIBUTE_TYPE] != "person"
        ]
        for start, end in token_spans(text):
            if not any(_overlap(start, end, entity) for entity in names):
                words.add(word_key(text[start:end]))
    return words
