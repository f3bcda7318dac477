"""From measurements to marks, from marks to a ranking, and how stable the ranking is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from comparison import decision, scoring
from comparison.scoring import CRITERIA, DEFAULT_WEIGHTS, MEASURES, Measured


def even(**marks: float) -> dict[str, float]:
    """Marks of 3, but for those given."""
    return {**{one.key: 3.0 for one in CRITERIA}, **marks}


def totals(result: decision.Decision) -> dict[str, float]:
    return {one.candidate: one.total for one in result.ranking}


# --- the original -----------------------------------------------------------------------------


def test_the_original_s_marks_give_its_sums() -> None:
    result = decision.decide(decision.ORIGINAL_MARKS)

    assert totals(result) == {"CamemBERT on SageMaker": 71, "Comprehend": 68}
    assert result.winners == ["CamemBERT on SageMaker"]


def test_the_default_weights_are_the_original_s_coefficients() -> None:
    assert list(DEFAULT_WEIGHTS.values()) == [5, 4, 4, 3, 2]


def test_the_cost_rule_gives_the_original_s_marks_for_its_costs() -> None:
    rule = next(one for one in MEASURES if one.key == "euros_a_month")

    assert rule.mark(72) == decision.ORIGINAL_MARKS["CamemBERT on SageMaker"]["cost"]
    assert rule.mark(1200) == decision.ORIGINAL_MARKS["Comprehend"]["cost"]


# --- marks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURES, ids=lambda one: one.key)
def test_a_threshold_still_gets_its_mark_and_what_is_worse_does_not(
    measure: scoring.Measure,
) -> None:
    worse = -1e-6 if measure.rising else 1e-6

    for index, threshold in enumerate(measure.thresholds):
        assert measure.mark(threshold) == 5 - index
        assert measure.mark(threshold + worse) == 4 - index


@pytest.mark.parametrize("measure", MEASURES, ids=lambda one: one.key)
def test_every_rule_belongs_to_a_criterion_and_can_be_read(measure: scoring.Measure) -> None:
    assert measure.criterion in DEFAULT_WEIGHTS
    assert measure.why
    assert measure.rule().count(": ") == 4
    assert measure.rule().endswith("else 1")
    assert list(measure.thresholds) == sorted(measure.thresholds, reverse=measure.rising)


def test_a_rule_in_words() -> None:
    words = {one.key: one.rule() for one in MEASURES}

    assert words["p95_spaced"] == "≤ 0.1 s: 5, ≤ 0.3 s: 4, ≤ 1 s: 3, ≤ 3 s: 2, else 1"
    assert words["macro_f1"] == "≥ 98 %: 5, ≥ 94 %: 4, ≥ 88 %: 3, ≥ 75 %: 2, else 1"
    assert words["euros_a_month"] == "≤ 30 €: 5, ≤ 100 €: 4, ≤ 300 €: 3, ≤ 1,000 €: 2, else 1"


def test_a_criterion_s_mark_is_the_mean_of_its_measures_by_their_shares() -> None:
    found = scoring.marks(
        {
            "macro_f1": Measured(0.95),  # 4, counts twice
            "false_accepts": Measured(0.5),  # 1
            "calibration_error": Measured(0.01),  # 5
        }
    )

    assert found["performance"].value == pytest.approx((2 * 4 + 1 + 5) / 4)
    assert found["performance"].missing == ()
    assert set(found) == {"performance"}


def test_an_interval_gives_a_range_of_marks() -> None:
    mark = scoring.marks({"macro_f1": Measured(0.95, 0.93, 0.99)})["performance"]

    assert (mark.value, mark.low, mark.high) == (4, 3, 5)
    assert mark.show() == "4 (3–5)"
    assert mark.missing == ("false_accepts", "calibration_error")


def test_an_interval_of_a_measure_where_less_is_better() -> None:
    mark = scoring.marks({"p95_spaced": Measured(0.2, 0.05, 0.4)})["speed"]

    assert (mark.value, mark.low, mark.high) == (4, 3, 5)


# --- ranking ----------------------------------------------------------------------------------


def test_equal_sums_share_a_rank_and_the_next_one_is_skipped() -> None:
    result = decision.decide({"c": even(), "a": even(cost=4), "b": even(cost=4), "d": even(cost=1)})

    assert [(one.candidate, one.rank) for one in result.ranking] == [
        ("a", 1), ("b", 1), ("c", 3), ("d", 4),
    ]  # fmt: skip
    assert result.winners == ["a", "b"]
    assert result.winner_holds == {}


def test_sums_that_differ_by_rounding_alone_are_equal() -> None:
    weights = {"speed": 0.1, "cost": 0.2, "performance": 0.3, "creation": 0, "industrialisation": 0}
    nothing = dict.fromkeys(DEFAULT_WEIGHTS, 0.0)

    result = decision.decide(
        {"a": {**nothing, "performance": 1}, "b": {**nothing, "speed": 1, "cost": 1}}, weights
    )

    assert totals(result)["a"] != totals(result)["b"]  # 0.1 + 0.2 is not 0.3
    assert [one.rank for one in result.ranking] == [1, 1]


def test_a_candidate_without_a_mark_is_not_ranked_and_says_why() -> None:
    incomplete = even()
    del incomplete["cost"]

    result = decision.decide({"whole": even(), "failed": {}, "half": incomplete})

    assert [one.candidate for one in result.ranking] == ["whole"]
    assert result.unranked["half"] == "no mark for cost"
    assert result.unranked["failed"].startswith("no mark for inference speed, model performance")


def test_a_criterion_of_weight_0_does_not_count() -> None:
    without_cost = even(speed=4)
    del without_cost["cost"]

    result = decision.decide({"a": even(cost=5), "b": without_cost}, {**DEFAULT_WEIGHTS, "cost": 0})

    assert result.winners == ["b"]


def test_nobody_to_rank() -> None:
    result = decision.decide({"failed": {}})

    assert (result.ranking, result.near, result.winner_holds) == ((), {}, {})


# --- stability --------------------------------------------------------------------------------


def test_who_is_better_in_everything_wins_every_weighting() -> None:
    result = decision.decide({"good": even(), "bad": dict.fromkeys(DEFAULT_WEIGHTS, 1.0)})

    assert result.near == result.anywhere == {"good": 1.0, "bad": 0.0}


def test_equal_candidates_split_every_weighting() -> None:
    result = decision.decide({"a": even(), "b": even()})

    assert result.near == result.anywhere == {"a": 0.5, "b": 0.5}


def test_shares_follow_the_distribution() -> None:
    """Two criteria, opposite marks: uniform weightings are won by halves.

    Near the weights 3 and 1, the first criterion's weight has the distribution Beta(3, 1), whose
    part above one half is 1 - 0.5³ = 7/8.
    """
    weights = {**dict.fromkeys(DEFAULT_WEIGHTS, 0.0), "speed": 3.0, "cost": 1.0}

    result = decision.decide({"fast": even(speed=4), "cheap": even(cost=4)}, weights)

    assert result.anywhere["fast"] == pytest.approx(1 / 2, abs=0.02)
    assert result.near["fast"] == pytest.approx(7 / 8, abs=0.02)
    assert sum(result.near.values()) == pytest.approx(1)


def test_sampling_gives_the_same_shares_each_time() -> None:
    first = decision.decide(decision.ORIGINAL_MARKS)

    assert first == decision.decide(decision.ORIGINAL_MARKS)
    assert first.near["CamemBERT on SageMaker"] > 0.5


def test_the_weights_at_which_the_winner_changes() -> None:
    """The original: CamemBERT leads by 3; a point of cost is worth 3 to it, of creation -3."""
    result = decision.decide(decision.ORIGINAL_MARKS)

    assert result.winner_holds["cost"] == pytest.approx((3, math.inf))
    assert result.winner_holds["creation"] == pytest.approx((0, 4))
    assert result.winner_holds["speed"] == (0, math.inf)
    for key, weight in (("cost", 3), ("creation", 4)):
        there = decision.decide(decision.ORIGINAL_MARKS, {**DEFAULT_WEIGHTS, key: weight})
        assert len(there.winners) == 2


def test_figures_are_plain_json() -> None:
    figures = json.loads(json.dumps(decision.decide(decision.ORIGINAL_MARKS).to_json()))

    assert figures["ranking"][0]["total"] == 71
    assert figures["winner_holds"]["cost"] == [3, None]
    assert figures["stability"]["samples"] == 10_000


# --- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["cost: 10\n", "weights:\n  cost: 10\ncandidates: []\n"])
def test_weights_from_a_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "weights.yml"
    path.write_text(content, encoding="utf-8")

    assert decision.read_weights(path) == {**DEFAULT_WEIGHTS, "cost": 10}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prix": 4}, "'prix' is not known"),
        ({"cost": -1}, "'cost' is -1; it must be greater than or equal to 0"),
        (dict.fromkeys(DEFAULT_WEIGHTS, 0), "at least one weight must be above 0"),
        ([5, 4, 4, 3, 2], "must be a mapping"),
    ],
)
def test_wrong_weights_are_refused(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        decision.weights_of(values, "weights.yml")
