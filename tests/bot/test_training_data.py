"""The training data keeps what the held-out figures and the documentation promise."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from rasa.shared.nlu.training_data.loading import load_data
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bot.dataset import read_labels
from common.text import fold
from tests.support import ROOT


@pytest.fixture(scope="module")
def training() -> TrainingData:
    return load_data(str(ROOT / "data" / "nlu.yml"))


@pytest.fixture(scope="module")
def held_out() -> TrainingData:
    return load_data(str(ROOT / "tests" / "data" / "heldout.yml"))


def folded(message: Message) -> str:
    """The text without case, accents and punctuation, which make no other example of it."""
    return " ".join(re.sub(r"[^\w+#. ]", " ", fold(message.get("text"))).split()).rstrip(" .")


@pytest.mark.parametrize("name", ["heldout.yml", "constraints.yml"])
def test_no_held_out_example_is_trained_on(training: TrainingData, name: str) -> None:
    held_out = load_data(str(ROOT / "tests" / "data" / name))
    trained = {folded(message) for message in training.intent_examples} - {""}
    assert sorted(trained & {folded(message) for message in held_out.intent_examples}) == []


def test_there_are_enough_examples(training: TrainingData) -> None:
    counts = Counter(message.get("intent") for message in training.intent_examples)
    assert set(counts) == set(read_labels(ROOT / "domain.yml").intents)
    off_topic = counts.pop("OUT_OF_SCOPE")
    assert sum(counts.values()) >= 600
    assert off_topic >= 150


def test_every_synonym_leads_to_a_listed_value() -> None:
    lookups = load_data(str(ROOT / "data" / "lookups.yml"))
    listed = {value for table in lookups.lookup_tables for value in table["elements"]}
    assert set(lookups.entity_synonyms.values()) <= listed
    technologies = next(
        table["elements"] for table in lookups.lookup_tables if table["name"] == "technology"
    )
    assert len(set(technologies)) >= 150


def test_entities_are_annotated_in_both(training: TrainingData, held_out: TrainingData) -> None:
    def kinds(data: TrainingData) -> set[str]:
        return {entity["entity"] for m in data.nlu_examples for entity in m.get("entities", [])}

    assert kinds(training) >= kinds(held_out)
