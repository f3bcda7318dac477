"""A conditional random field that finds names by their context, however they are typed."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.constants import ENTITY_ATTRIBUTE_CONFIDENCE_TYPE, TOKENS_NAMES
from rasa.nlu.extractors.extractor import EntityExtractorMixin
from rasa.nlu.tokenizers.tokenizer import Token, Tokenizer
from rasa.nlu.utils.bilou_utils import (
    bilou_tags_from_offsets,
    map_message_entities,
    tag_without_prefix,
)
from rasa.shared.constants import INTENT_MESSAGE_PREFIX
from rasa.shared.nlu.constants import (
    ENTITIES,
    ENTITY_ATTRIBUTE_END,
    ENTITY_ATTRIBUTE_START,
    ENTITY_ATTRIBUTE_TYPE,
    ENTITY_ATTRIBUTE_VALUE,
    NO_ENTITY_TAG,
    TEXT,
)
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from common.config import Rule, integer, number
from components.augmentation import Augmenter, Example, entity_runs
from components.component import TrainableComponent, source_fingerprint
from components.lexicon import Lexicon, french_words, pack, unpack, word_key, word_list_path
from components.tokenizer import token_spans

if TYPE_CHECKING:
    import pycrfsuite

logger = logging.getLogger(__name__)

_FORMAT = 1

# In front of every fourth surname of the lists, in the names that the variants bring.
_PARTICLES = ["de", "Le", "du", "de la", "Ben", "d'", "van", "El", "de", "Le", "van der", "da"]

# Rasa's validator knows trainable extractors and users of lookup tables by a fixed list of its
# own classes (rasa/graph_components/validators/default_recipe_validator.py) and so would claim
# that a pipeline with our extractors leaves annotations, lookup tables, regular expressions and
# synonyms unused.
for _start in (
    "You have defined training data consisting of entity examples, but",
    "You have defined training data consisting of lookup tables, but",
    "You have defined synonyms in your training data, but",
    "You have defined training data with regexes, but",
):
    warnings.filterwarnings("ignore", message=_start, category=UserWarning)


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.ENTITY_EXTRACTOR, is_trainable=True)
class FrenchCRFEntityExtractor(TrainableComponent, EntityExtractorMixin):
    """Rasa's CRFEntityExtractor for short French messages without capitals and accents.

    It differs in what it sees (folded words, their shape, the words around them, what the lookup
    tables say, whether the word is ordinary French in the training data), in what it learns from
    (variants of each example with other names, see :mod:`components.augmentation`) and in how it
    is stored (the trained model; Rasa's trains again on each load).
    """

    FILES = ("crf.json", "crf.bin")
    RULES: ClassVar[Mapping[str, Rule]] = {
        "variants": integer(0, 50),
        "max_iterations": integer(1),
        "L1_c": number(0, 100),
        "L2_c": number(0, 100),
        "seed": integer(0),
    }

    @classmethod
    def required_components(cls) -> list[type]:
        """Return the components that come before in the pipeline."""
        return [Tokenizer]

    @staticmethod
    def required_packages() -> list[str]:
        """Return the packages that the component needs."""
        return ["sklearn_crfsuite"]

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """Return the defaults."""
        return {
            # Variants with other names, small letters, lost accents and typos per example.
            "variants": 2,
            # Limited-memory BFGS steps and regularisation (names as in CRFEntityExtractor).
            "max_iterations": 100,
            "L1_c": 0.1,
            "L2_c": 0.1,
            # Of the random variants: the same data and seed give the same model.
            "seed": 0,
        }

    def __init__(
        self, config: dict[str, Any], model_storage: ModelStorage, resource: Resource
    ) -> None:
        """Create an untrained extractor (see parent class)."""
        super().__init__(config, model_storage, resource)
        self._lexicon = Lexicon({})
        self._ordinary: Counter[str] = Counter()
        self._french: dict[str, int] = {}
        self._tagger: pycrfsuite.Tagger | None = None
        # The tagger reads from these bytes and does not keep them alive.
        self._model = b""
        # A tagger holds the sentence it works on.
        self._lock = threading.Lock()

    @classmethod
    def fingerprint_addon(cls, config: dict[str, Any]) -> str | None:
        """Return a digest of the helper modules, and of whether there is a list of words."""
        return source_fingerprint(
            __name__,
            "common.text",
            "components.augmentation",
            "components.lexicon",
            "components.tokenizer",
            facts=(word_list_path() is None,),
        )

    def train(self, training_data: TrainingData) -> Resource:
        """Learn from the annotated examples and store the model."""
        if not training_data.entity_examples:
            return self._resource
        self._lexicon = Lexicon.from_training_data(training_data)
        self._french = french_words()
        examples = [
            _example(message)
            for message in training_data.nlu_examples
            if message.get(TEXT) and message.get(TOKENS_NAMES[TEXT])
        ]
        self._ordinary = _ordinary_words(examples)
        augmenter = Augmenter(_name_pools(examples, self._lexicon), seed=self.config["seed"])
        with self._model_storage.write_to(self._resource) as directory:
            path = directory / "crf.bin"
            self._fit(examples, augmenter, path)
            content = path.read_bytes()
            meta = {
                "format": _FORMAT,
                "sha256": hashlib.sha256(content).hexdigest(),
                "lexicon": self._lexicon.to_json(),
                "ordinary": dict(sorted(self._ordinary.items())),
                "french": pack(self._french),
            }
            text = json.dumps(meta, ensure_ascii=False)
            (directory / "crf.json").write_text(text, encoding="utf-8")
        self._open(content)
        return self._resource

    def _fit(self, examples: Sequence[Example], augmenter: Augmenter, path: Path) -> None:
        import pycrfsuite

        trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
        trainer.set_params(
            {
                "c1": self.config["L1_c"],
                "c2": self.config["L2_c"],
                "max_iterations": self.config["max_iterations"],
                "feature.possible_transitions": True,
            }
        )
        for example in examples:
            # What has no entity is varied once, so that small letters alone mean nothing.
            copies = self.config["variants"]
            if not entity_runs(example.tags):
                copies = min(copies, 1)
            own = {
                word_key(word)
                for word, tag in zip(example.words, example.tags, strict=True)
                if tag == NO_ENTITY_TAG
            }
            for version in [
                example,
                *[augmenter.variant(example) for _ in range(copies)],
            ]:
                # Without its own words, else no word of the training set would ever be unknown.
                trainer.append(self._features(version.words, version.gaps, own), version.tags)
        trainer.train(str(path))

    def _read(self, folder: Path) -> None:
        meta, model = ((folder / name).read_bytes() for name in self.FILES)
        data = json.loads(meta)
        if data["format"] != _FORMAT:
            raise ValueError(f"format {data['format']}, this version reads {_FORMAT}")
        if hashlib.sha256(model).hexdigest() != data["sha256"]:
            raise ValueError("crf.bin is not what was stored")
        self._lexicon = Lexicon.from_json(data["lexicon"])
        self._ordinary = Counter(data["ordinary"])
        self._french = unpack(data["french"])
        self._open(model)

    def _nothing_stored(self) -> None:
        """Stay as it is: the training data had no entities."""

    def _open(self, model: bytes) -> None:
        import pycrfsuite

        self._model = model
        self._tagger = pycrfsuite.Tagger()
        self._tagger.open_inmemory(self._model)

    def process(self, messages: list[Message]) -> list[Message]:
        """Add the entities found to each message; never raises."""
        for message in messages:
            found: list[dict[str, Any]] = []
            try:
                found = self.add_extractor_name(self.extract_entities(message))
            except Exception:
                logger.exception("%s could not read a message.", self.name)
            message.set(ENTITIES, (message.get(ENTITIES) or []) + found, add_to_output=True)
        return messages

    def extract_entities(self, message: Message) -> list[dict[str, Any]]:
        """Return the entities of a message, with ``confidence_entity`` between 0 and 1."""
        text = message.get(TEXT)
        tokens: list[Token] = message.get(TOKENS_NAMES[TEXT]) or []
        if self._tagger is None or not text or not tokens or text.startswith(INTENT_MESSAGE_PREFIX):
            return []
        features = self._features([token.text for token in tokens], _gaps(text, tokens))
        with self._lock:
            self._tagger.set(features)
            tags = self._tagger.tag()
            labels = self._tagger.labels()
            # As Rasa: the confidence in a word is the sum over the tags of its entity.
            confidences = [
                sum(
                    self._tagger.marginal(label, index)
                    for label in labels
                    if tag_without_prefix(label) == tag_without_prefix(tag)
                )
                for index, tag in enumerate(tags)
            ]
        return [
            {
                ENTITY_ATTRIBUTE_TYPE: entity,
                ENTITY_ATTRIBUTE_START: tokens[first].start,
                ENTITY_ATTRIBUTE_END: tokens[last - 1].end,
                ENTITY_ATTRIBUTE_VALUE: text[tokens[first].start : tokens[last - 1].end],
                # As Rasa: that of the least certain word.
                ENTITY_ATTRIBUTE_CONFIDENCE_TYPE: min(confidences[first:last]),
            }
            for first, last, entity in entity_runs(tags)
        ]

    def _features(
        self,
        words: Sequence[str],
        gaps: Sequence[str],
        own: frozenset[str] | set[str] = frozenset(),
    ) -> list[dict[str, Any]]:
        """Return the features of each word; ``own`` words are counted in one example less."""
        keys = [word_key(word[:40]) for word in words]
        known = self._known(words, keys)
        counts = [self._ordinary[key] - (key in own) for key in keys]
        # How ordinary a word is: here (0 to 2) and in French (0 to 3).
        sizes = [
            f"{min(count, 1) + (count > 3)}{self._french.get(key, 0)}"
            for count, key in zip(counts, keys, strict=True)
        ]
        # What the message is about tells whose « il » and whose « mail » it is.
        about = "".join(
            str(int(any(f"-{name}" in found for names in known for found in names)))
            for name in ("technology", "given_name", "detail", "agency")
        )
        cased = any(word[:1].isupper() for word in words[1:])
        shapes = [_shape(word) for word in words]
        rows: list[dict[str, Any]] = []
        for i, key in enumerate(keys):
            before = keys[i - 1] if i else "<s>"
            before2 = keys[i - 2] if i > 1 else "<s>"
            after = keys[i + 1] if i + 1 < len(keys) else "</s>"
            after2 = keys[i + 2] if i + 2 < len(keys) else "</s>"
            size, size_before = sizes[i], sizes[i - 1] if i else "<s>"
            size_after = sizes[i + 1] if i + 1 < len(keys) else "</s>"
            row: dict[str, Any] = {
                "bias": 1.0,
                "w": key,
                "w|about": f"{key}|{about}",
                "p3": key[:3],
                "s3": key[-3:],
                "s2": key[-2:],
                "shape": shapes[i],
                "shape|cased": f"{shapes[i]}|{cased}",
                "length": str(min(len(key), 8)),
                "here": size[0],
                "french": size[1],
                "size": size,
                "size|shape": f"{size}|{shapes[i]}|{cased}",
                "size-1": size_before,
                "size+1": size_after,
                "sizes-1": f"{size_before} {size}",
                "sizes+1": f"{size} {size_after}",
                "-1": before,
                "-2": before2,
                "+1": after,
                "+2": after2,
                "-2-1": f"{before2} {before}",
                "+1+2": f"{after} {after2}",
                "-1+1": f"{before} {after}",
                "-1size": f"{before} {size}",
                "-2-1size": f"{before2} {before} {size}",
                "size+1w": f"{size} {after}",
                "gap-": gaps[i - 1] if i else "<s>",
                "gap+": gaps[i],
            }
            for offset in (-1, 0, 1):
                if 0 <= i + offset < len(keys):
                    for name in known[i + offset]:
                        row[f"lookup{offset}:{name}"] = 1.0
            if i + 1 < len(keys):
                row["shape+1"] = shapes[i + 1]
            if i:
                row["shape-1"] = shapes[i - 1]
            rows.append(row)
        return rows

    def _known(self, words: Sequence[str], keys: Sequence[str]) -> list[set[str]]:
        """What the lookup tables say about each word."""
        known: list[set[str]] = [set() for _ in keys]
        for match in self._lexicon.exact_matches(keys):
            if match.last - match.first == 1:
                known[match.first].add(f"U-{match.name.entity}")
                continue
            known[match.first].add(f"B-{match.name.entity}")
            for index in range(match.first + 1, match.last):
                known[index].add(f"I-{match.name.entity}")
        for index, word in enumerate(words):
            # « Marie-Ange »: one known part makes a name of a name.
            for part in word.split("-") if "-" in word[:40] else ():
                names = self._lexicon.lookup([word_key(part)])
                known[index].update(f"part-{name.entity}" for name in names)
        return known


def _gaps(text: str, tokens: Sequence[Token]) -> list[str]:
    """The punctuation after each word: its first sign, or a space, or nothing at the end."""
    ends = [token.start for token in tokens[1:]] + [len(text)]
    gaps = []
    for token, end in zip(tokens, ends, strict=True):
        signs = text[token.end : min(end, token.end + 4)].strip()
        gaps.append(signs[:1] or (" " if end > token.end and end < len(text) else ""))
    return gaps


def _example(message: Message) -> Example:
    tokens = message.get(TOKENS_NAMES[TEXT])
    tags = bilou_tags_from_offsets(tokens, map_message_entities(message))
    return Example(
        tuple(token.text for token in tokens),
        # Half as many labels as BILOU train in a quarter of the time and, here, no worse.
        tuple(tag.replace("U-", "B-", 1).replace("L-", "I-", 1) for tag in tags),
        tuple(_gaps(message.get(TEXT), tokens)),
    )


def _ordinary_words(examples: Sequence[Example]) -> Counter[str]:
    """In how many examples a word stands outside every entity."""
    counts: Counter[str] = Counter()
    for example in examples:
        pairs = zip(example.words, example.tags, strict=True)
        counts.update({word_key(word) for word, tag in pairs if tag == NO_ENTITY_TAG})
    return counts


def _name_pools(examples: Sequence[Example], lexicon: Lexicon) -> dict[str, list[tuple[str, ...]]]:
    """The names that may be exchanged for each other: those of the examples and lookup tables."""
    pools: dict[str, list[tuple[str, ...]]] = {"person": [], "technology": [], "agency": []}
    given, surnames = (
        [_split(name) for name in sorted(lexicon.values(kind))]
        for kind in ("given_name", "surname")
    )
    if given and surnames:
        # In step, the shorter list over and over: enough pairs, and the same on each run.
        pairs = zip(given, cycle(surnames[::-1]), cycle(_PARTICLES))
        for number, (given_name, surname, particle) in enumerate(pairs):
            if number % 4 == 0:
                surname = (*particle.split(), *surname)
                pools["person"].append(surname)
            in_order = number % 8 != 7
            pools["person"].append(given_name + surname if in_order else surname + given_name)
        pools["person"] += [*given, *surnames]
    for example in examples:
        for first, last, entity in entity_runs(example.tags):
            if entity in pools:
                pools[entity].append(example.words[first:last])
    for entity, names in lexicon.spellings.items():
        if entity in pools:
            for name in names:
                pools[entity].append(_split(name))
    return pools


def _split(name: str) -> tuple[str, ...]:
    return tuple(name[start:end] for start, end in token_spans(name)) or (name,)


def _shape(word: str) -> str:
    """``Xx`` for Paul, ``X`` for SQL, ``xd`` for k8, ``x.x`` for a.b: runs are shortened."""
    shape = ""
    for char in word[:40]:
        kind = "X" if char.isupper() else "x" if char.isalpha() else "d" if char.isdigit() else char
        if not shape.endswith(kind):
            shape += kind
    return shape[:6]
