"""What is wrong with a dataset, or worth a look."""

from __future__ import annotations

import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bot.dataset.model import (
    SECTIONS,
    Dataset,
    Example,
    Problem,
)
from bot.dataset.rasa_yaml import unsayable
from bot.dataset.spans import cuts_a_word, otherwise_counted
from common.errors import UserError
from common.spreadsheets import clean
from common.text import fold

# From so many examples on, an intent may have many times fewer than another.
ENOUGH = 30
IMBALANCE = 10


@dataclass(frozen=True)
class Labels:
    """The intents and entities that the domain knows."""

    intents: frozenset[str]
    entities: frozenset[str]


def read_labels(domain: Path) -> Labels:
    """Read the labels of a Rasa domain, a file or a folder.

    Raises:
        UserError: it cannot be read.
    """
    from rasa.shared.constants import DEFAULT_NLU_FALLBACK_INTENT_NAME
    from rasa.shared.core.constants import DEFAULT_INTENTS
    from rasa.shared.core.domain import Domain
    from rasa.shared.exceptions import RasaException

    if not domain.exists():
        raise UserError(f"{domain}: no such domain.")
    try:
        with warnings.catch_warnings():
            # For every slot named like an entity, whatever its mappings; Rasa's own commands
            # leave it out as well.
            warnings.filterwarnings("ignore", message="(?s).*Slot auto-fill has been removed")
            loaded = Domain.load(str(domain))
    except RasaException as error:
        raise UserError(f"{domain}: {error}") from error
    reserved = {*DEFAULT_INTENTS, DEFAULT_NLU_FALLBACK_INTENT_NAME}
    return Labels(frozenset(loaded.intents) - reserved, frozenset(loaded.entities))


def validate(dataset: Dataset, labels: Labels | None = None) -> list[Problem]:
    """Return everything that is wrong with a dataset, in the order of its lines.

    Errors: an empty or wrongly encoded text, a label that ``labels`` does not know, entity
    positions outside the text, inside a word or overlapping, the same text twice, or with two
    labels, something that Rasa's YAML cannot say. Warnings: texts that differ in case, accents and
    punctuation alone, or in names alone and have different labels; an intent with few examples
    beside others.
    """
    problems = [
        *unsayable(dataset),
        *_cut_words(dataset),
        *_encoding(dataset),
        *_repeated(dataset),
        *_alike(dataset),
        *_imbalance(dataset),
        *_synonym_conflicts(dataset),
    ]
    if labels is not None:
        problems += _unknown_labels(dataset, labels)
    if not dataset.examples and not any(getattr(dataset, key) for key in SECTIONS.values()):
        problems.append(Problem(0, "the dataset is empty"))
    return sorted(problems)


def _cut_words(dataset: Dataset) -> Iterator[Problem]:
    """Find entities that begin or end inside a word, which training would leave out."""
    for example in dataset.examples:
        text = example.text
        for one in example.entities:
            inside = 0 <= one.start < one.end <= len(text)
            if inside and cuts_a_word(text, one.start, one.end):
                covered = text[one.start : one.end]
                yield Problem(
                    example.line,
                    f"entity {one.entity} at {one.start}–{one.end} cuts a word: {covered!r} of "
                    f"{text!r}{otherwise_counted(text, one)}",
                )


def _encoding(dataset: Dataset) -> Iterator[Problem]:
    """Find texts that were decoded wrongly before they were saved, or copied out of a page."""
    for example in dataset.examples:
        if "\ufffd" in example.text:
            message = "a character was lost in a conversion (U+FFFD)"
            yield Problem(example.line, f"{message}: {example.text!r}")
            continue
        repaired = clean(example.text)
        if repaired != unicodedata.normalize("NFC", example.text.strip()):
            message = (
                f"wrong encoding, HTML or an invisible character: {example.text!r} is probably "
                f"{repaired!r}"
            )
            yield Problem(example.line, message)


def folded(text: str) -> str:
    """Return ``text`` without case, accents, punctuation and repeated space, for comparison.

    ``+``, ``#`` and dots inside a word stay: C, C++ and C# are three technologies.
    """
    words = (word.strip(".,;:!?…«»\"'()-") for word in fold(text).split())
    return " ".join(word for word in words if word) or " ".join(text.split())


def _repeated(dataset: Dataset) -> Iterator[Problem]:
    first: dict[str, Example] = {}
    exact: dict[str, Example] = {}
    for example in dataset.examples:
        spelling = unicodedata.normalize("NFC", " ".join(example.text.split()))
        twin = exact.setdefault(spelling, example)
        similar = first.setdefault(folded(example.text), example)
        label = example.intent
        if similar.intent != label:
            message = (
                f"{example.text!r} is {label} here and {similar.intent} on line {similar.line}"
            )
            yield Problem(example.line, f"contradictory labels: {message}")
        elif twin is not example:
            yield Problem(example.line, f"duplicate of line {twin.line}: {example.text!r}")
        elif similar is not example:
            message = f"differs from line {similar.line} in case, accents or punctuation alone"
            yield Problem(example.line, f"{message}: {example.text!r}", is_error=False)


def _alike(dataset: Dataset) -> Iterator[Problem]:
    """Find texts that are the same but for the names in them, and have different labels."""
    first: dict[str, Example] = {}
    for example in dataset.examples:
        frame, position = "", 0
        for entity in example.entities:
            if entity.start >= position:
                frame += f"{example.text[position : entity.start]}<{entity.entity}>"
                position = entity.end
        frame = folded(frame + example.text[position:])
        other = first.setdefault(frame, example)
        # A name and nothing else says little: « Oracle » is asked for, « Paul » is asked about.
        if other.intent != example.intent and folded(other.text) != folded(example.text):
            message = (
                f"{example.text!r} is {example.intent} here, and {other.text!r} is {other.intent} "
                f"on line {other.line}: they differ in names alone"
            )
            yield Problem(example.line, f"probably contradictory labels: {message}", is_error=False)


def _imbalance(dataset: Dataset) -> Iterator[Problem]:
    """Find intents with so few examples that they are learnt badly, or at the cost of others."""
    counts = Counter(example.intent for example in dataset.examples)
    if len(counts) < 2:
        return
    largest, most = counts.most_common(1)[0]
    for intent, count in counts.items():
        line = next(example.line for example in dataset.examples if example.intent == intent)
        if count == 1:
            yield Problem(line, f"{intent} has a single example", is_error=False)
        elif count < ENOUGH and most > count * IMBALANCE:
            message = f"{intent} has {count} examples beside {most} of {largest}"
            advice = f"write {ENOUGH} or more, in as many ways as people ask"
            yield Problem(line, f"{message}: {advice}", is_error=False)


def _synonym_conflicts(dataset: Dataset) -> Iterator[Problem]:
    canonical: dict[str, str] = {}
    for value, variants in dataset.synonyms.items():
        for variant in variants:
            other = canonical.setdefault(variant, value)
            if other != value:
                yield Problem(0, f"the synonym {variant!r} stands for both {other!r} and {value!r}")
    for example in dataset.examples:
        for entity in example.entities:
            if entity.value and entity.start < entity.end <= len(example.text):
                variant = example.text[entity.start : entity.end]
                other = canonical.setdefault(variant, entity.value)
                if other != entity.value:
                    message = (
                        f"{variant!r} has the value {entity.value!r} here and {other!r} elsewhere"
                    )
                    yield Problem(example.line, message)


def _unknown_labels(dataset: Dataset, labels: Labels) -> Iterator[Problem]:
    import difflib

    def unknown(kind: str, name: str, known: frozenset[str]) -> str:
        close = difflib.get_close_matches(name, sorted(known), n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"
        return f"unknown {kind} {name}{hint}"

    for example in dataset.examples:
        if example.intent.split("/")[0] not in labels.intents:
            yield Problem(example.line, unknown("intent", example.intent, labels.intents))
        for entity in example.entities:
            if entity.entity not in labels.entities:
                yield Problem(example.line, unknown("entity", entity.entity, labels.entities))
