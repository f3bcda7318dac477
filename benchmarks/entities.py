"""Entity extraction measured: which pipeline finds the people and technologies that users type.

    python benchmarks/entities.py                      # train on data/, score the held-out set
    python benchmarks/entities.py --cross-validate 5   # data/nlu.yml alone, for choosing settings
    python benchmarks/entities.py --variants ours --errors

Each variant is a pipeline without intent classifier. An entity counts when start, end and label are
right. "unseen" rows are examples whose people and technologies neither the training data nor the
lookup tables hold.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from rasa.engine.graph import ExecutionContext, GraphComponent, GraphSchema
from rasa.engine.storage.local_model_storage import LocalModelStorage
from rasa.engine.storage.resource import Resource
from rasa.nlu.extractors.crf_entity_extractor import CRFEntityExtractor
from rasa.nlu.extractors.entity_synonyms import EntitySynonymMapper
from rasa.nlu.extractors.regex_entity_extractor import RegexEntityExtractor
from rasa.nlu.featurizers.sparse_featurizer.lexical_syntactic_featurizer import (
    LexicalSyntacticFeaturizer,
)
from rasa.nlu.featurizers.sparse_featurizer.regex_featurizer import RegexFeaturizer
from rasa.nlu.tokenizers.whitespace_tokenizer import WhitespaceTokenizer
from rasa.shared.nlu.training_data.loading import load_data
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from common.text import fold
from components.constraints import ConstraintExtractor
from components.crf import FrenchCRFEntityExtractor
from components.gazetteer import GazetteerEntityExtractor
from components.tokenizer import FrenchTokenizer

FILES = ("nlu.yml", "lookups.yml", "names.yml", "constraints.yml")
Step = tuple[type[GraphComponent], dict[str, Any]]

_OURS: Step = (FrenchCRFEntityExtractor, {})
# Rasa's CRF reads nothing at all (and says nothing) unless some featurizer comes before it.
_RASA_CRF: list[Step] = [
    (LexicalSyntacticFeaturizer, {}),
    (RegexFeaturizer, {}),
    (CRFEntityExtractor, {}),
]
VARIANTS: dict[str, list[Step]] = {
    "lookup": [(WhitespaceTokenizer, {}), (RegexEntityExtractor, {}), (EntitySynonymMapper, {})],
    "rasa-crf": [(WhitespaceTokenizer, {}), *_RASA_CRF, (EntitySynonymMapper, {})],
    "rasa-crf+tokenizer": [(FrenchTokenizer, {}), *_RASA_CRF, (EntitySynonymMapper, {})],
    "rasa-crf+gazetteer": [(FrenchTokenizer, {}), *_RASA_CRF, (GazetteerEntityExtractor, {})],
    "gazetteer": [(FrenchTokenizer, {}), (GazetteerEntityExtractor, {})],
    "crf": [(FrenchTokenizer, {}), _OURS],
    "ours, no variants": [
        (FrenchTokenizer, {}),
        (FrenchCRFEntityExtractor, {"variants": 0}),
        (GazetteerEntityExtractor, {}),
    ],
    "ours, no constraints": [(FrenchTokenizer, {}), _OURS, (GazetteerEntityExtractor, {})],
    "ours": [
        (FrenchTokenizer, {}),
        _OURS,
        (GazetteerEntityExtractor, {}),
        (ConstraintExtractor, {}),
    ],
}


class Pipeline:
    """A trained sequence of Rasa components, stored and loaded again as Rasa does."""

    def __init__(self, steps: Sequence[Step], data: TrainingData) -> None:
        context = ExecutionContext(GraphSchema({}))
        self.components: list[Any] = []
        self.train_seconds = self.load_seconds = 0.0
        self.stored_bytes = 0
        data = copy.deepcopy(data)
        with tempfile.TemporaryDirectory() as folder:
            storage = LocalModelStorage(Path(folder))
            for number, (step, given) in enumerate(steps):
                config = {**step.get_default_config(), **given}
                resource = Resource(f"{number}")
                component: Any = step.create(config, storage, resource, context)
                started = time.perf_counter()
                if hasattr(component, "train"):
                    component.train(data)
                    self.train_seconds += time.perf_counter() - started
                    started = time.perf_counter()
                    component = step.load(config, storage, resource, context)
                    self.load_seconds += time.perf_counter() - started
                if hasattr(component, "process_training_data"):
                    data = component.process_training_data(data)
                self.components.append(component)
            files = [path for path in Path(folder).rglob("*") if path.is_file()]
            self.stored_bytes = sum(path.stat().st_size for path in files)

    def __call__(self, text: str) -> list[dict[str, Any]]:
        """Return the entities of ``text``."""
        messages = [Message({"text": text})]
        for component in self.components:
            messages = component.process(messages)
        return messages[0].get("entities") or []


class Scores:
    """True and false positives and false negatives under any number of headings."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, heading: str, expected: set[Any], found: set[Any]) -> None:
        """Count one message."""
        self.counts[heading].update(
            right=len(expected & found), missed=len(expected - found), wrong=len(found - expected)
        )

    def rates(self, heading: str) -> tuple[float, float, float, int]:
        """Return precision, recall, F1 and the number of expected entities."""
        count = self.counts[heading]
        support = count["right"] + count["missed"]
        returned = count["right"] + count["wrong"]
        precision = count["right"] / returned if returned else 0.0
        recall = count["right"] / support if support else 0.0
        total = precision + recall
        return precision, recall, 2 * precision * recall / total if total else 0.0, support


def read(paths: Iterable[Path]) -> TrainingData:
    """Read and merge training data files."""
    data = TrainingData()
    for path in paths:
        data = data.merge(load_data(str(path)))
    return data


def spans(entities: Iterable[dict[str, Any]]) -> set[tuple[int, int, str]]:
    """Return what is compared of entities."""
    return {(e["start"], e["end"], e["entity"]) for e in entities}


def known_names(data: TrainingData) -> set[str]:
    """Return every name, folded, that ``data`` teaches."""
    names = {fold(str(name)) for table in data.lookup_tables for name in table["elements"]}
    names |= {fold(name) for name in data.entity_synonyms}
    for message in data.entity_examples:
        for entity in message.get("entities"):
            names.add(fold(message.get("text")[entity["start"] : entity["end"]]))
    return names


def score(
    pipeline: Pipeline,
    messages: Sequence[Message],
    scores: Scores,
    known: set[str] | None = None,
    errors: list[str] | None = None,
) -> float:
    """Add the results on ``messages`` to ``scores`` and return the seconds it took.

    Args:
        known: names seen in training, where the examples don't say themselves whether
            they are ``unseen`` (their metadata).
    """
    seconds = 0.0
    for message in messages:
        text = message.get("text")
        expected = spans(message.get("entities") or [])
        started = time.perf_counter()
        found = spans(pipeline(text))
        seconds += time.perf_counter() - started
        meta = (message.get("metadata") or {}).get("example") or {}
        names = [text[a:b] for a, b, kind in expected if kind in ("person", "technology")]
        unseen = meta.get("unseen", False)
        if known is not None:
            unseen = bool(names) and not any(fold(name) in known for name in names)
        scores.add("all", expected, found)
        scores.add("unseen" if unseen else "seen", expected, found)
        for kind in sorted({entity[2] for entity in expected | found}):
            only = [{e for e in entities if e[2] == kind} for entities in (expected, found)]
            scores.add(f"{kind}", *only)
            if kind in ("person", "technology"):
                scores.add(f"{kind}, {'unseen' if unseen else 'seen'}", *only)
        scores.add(f"({meta.get('kind', 'any')})", expected, found)
        scores.add(f"[{message.get('intent')}]", expected, found)
        if errors is not None and expected != found:
            marked = {
                word: [f"{text[a:b]!r} {kind}" for a, b, kind in sorted(some)]
                for word, some in (("missed", expected - found), ("wrong", found - expected))
            }
            errors.append(f"{text!r}: missed {marked['missed']}, wrong {marked['wrong']}")
    return seconds


def folds(messages: Sequence[Message], count: int, seed: int = 0) -> list[list[Message]]:
    """Split at random, the same way on every call."""
    shuffled = list(messages)
    random.Random(seed).shuffle(shuffled)
    return [shuffled[number::count] for number in range(count)]


def main() -> None:
    """Run the comparison and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", type=Path, default=None)
    parser.add_argument("--heldout", type=Path, default=ROOT / "tests" / "data" / "heldout.yml")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--cross-validate", type=int, default=0, metavar="FOLDS")
    parser.add_argument("--errors", action="store_true", help="list every message not all right")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    data = read(options.data or [ROOT / "data" / name for name in FILES])
    report: dict[str, Any] = {}
    for name in options.variants:
        scores, errors = Scores(), [] if options.errors else None
        if options.cross_validate:
            parts = folds(data.nlu_examples, options.cross_validate)
            seconds, total = 0.0, len(data.nlu_examples)
            for part in parts:
                rest = [message for other in parts if other is not part for message in other]
                training = TrainingData(
                    rest, data.entity_synonyms, data.regex_features, data.lookup_tables
                )
                pipeline = Pipeline(VARIANTS[name], training)
                seconds += score(pipeline, part, scores, known_names(training), errors)
        else:
            pipeline = Pipeline(VARIANTS[name], data)
            heldout = read([options.heldout]).nlu_examples
            score(pipeline, heldout, Scores())  # warm up
            seconds, total = score(pipeline, heldout, scores, errors=errors), len(heldout)
        print(
            f"\n== {name}: train {pipeline.train_seconds:.1f} s, "
            f"load {pipeline.load_seconds:.2f} s, stored {pipeline.stored_bytes / 1e6:.1f} MB, "
            f"{1000 * seconds / total:.2f} ms a message"
        )
        for heading in sorted(scores.counts, key=lambda h: (h not in ("all", "seen", "unseen"), h)):
            precision, recall, f1, support = scores.rates(heading)
            print(f"{heading:28} P {precision:.3f}  R {recall:.3f}  F1 {f1:.3f}  ({support})")
        report[name] = {heading: scores.rates(heading) for heading in scores.counts}
        for line in errors or ():
            print("  ", line)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
