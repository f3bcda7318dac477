"""What the pipeline demo trains and measures on; the demo itself is ``make pipeline-demo``."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from bot import dataset as datasets
from bot.dataset import Dataset
from infra import demo
from infra.demo import EXAMPLES, INTENTS, Stages, as_json, confused, heldout, sample
from tests.support import ROOT


@pytest.fixture(scope="module")
def delivered() -> Dataset:
    return datasets.read(ROOT / "data" / "dataset.json")


@pytest.fixture(scope="module")
def measured_on() -> Dataset:
    return heldout(datasets.read(ROOT / "tests" / "data" / "heldout.yml"))


def test_the_sample_keeps_the_shares_of_the_intents(delivered: Dataset) -> None:
    chosen = sample(delivered)
    assert abs(len(chosen.examples) - EXAMPLES) <= 1
    pool = Counter(one.intent for one in delivered.examples if one.intent in INTENTS)
    for intent, count in Counter(one.intent for one in chosen.examples).items():
        share = pool[intent] / sum(pool.values())
        assert count == pytest.approx(share * EXAMPLES, abs=1)
        assert count >= 50


def test_the_sample_is_the_same_each_time(delivered: Dataset) -> None:
    assert as_json(sample(delivered)) == as_json(sample(delivered))
    assert as_json(sample(delivered, seed=1)) != as_json(sample(delivered))


def test_nothing_of_the_sample_is_held_out(delivered: Dataset, measured_on: Dataset) -> None:
    known = {datasets.folded(one.text) for one in sample(delivered).examples}
    assert not known & {datasets.folded(one.text) for one in measured_on.examples}
    assert {one.intent for one in measured_on.examples} == set(INTENTS)


def said(*details: str) -> list[str]:
    """Return the lines that a stage has without a terminal."""
    output = io.StringIO()
    with Stages(Console(file=output)).stages("One") as (row,):
        for detail in details:
            row.tell(detail)
    lines = (line.strip() for line in output.getvalue().splitlines())
    return [line.rpartition(" ")[0].rpartition(" ")[0] for line in lines if line]


def test_without_a_terminal_it_says_what_is_new() -> None:
    assert said("TRAINING", "TRAINING", "DEPLOYED") == ["One: TRAINING", "One: DEPLOYED"]


def test_without_a_terminal_it_is_never_silent_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SILENCE_SECONDS", 0.0)
    assert said("TRAINING", "TRAINING") == ["One: TRAINING", "One: TRAINING"]


def test_the_bad_dataset_has_the_same_texts_and_intents_that_do_not_fit(delivered: Dataset) -> None:
    good = sample(delivered)
    bad = confused(good)
    assert [one.text for one in bad.examples] == [one.text for one in good.examples]
    assert Counter(one.intent for one in bad.examples) == Counter(
        one.intent for one in good.examples
    )
    fitting = sum(a.intent == b.intent for a, b in zip(bad.examples, good.examples, strict=True))
    assert fitting < len(good.examples) * 0.6


def test_both_are_datasets_as_they_are_delivered(delivered: Dataset, measured_on: Dataset) -> None:
    for dataset in (sample(delivered), measured_on):
        again, problems = datasets.parse_json(as_json(dataset).decode())
        assert problems == []
        assert [(one.text, one.intent) for one in again.examples] == [
            (one.text, one.intent) for one in dataset.examples
        ]
