"""The measures of a comparison, their intervals and their tests, against other ways to compute."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, log_loss, precision_score, recall_score, roc_auc_score

from comparison import scores
from comparison.scores import Run

INTENTS = ["a", "b", "off"]


def random_run(seed: int, count: int = 200, skill: float = 2.0) -> tuple[Run, np.ndarray]:
    """Return a run and the probabilities behind it, examples x intents."""
    generator = np.random.default_rng(seed)
    expected = np.random.default_rng(99).integers(0, 3, count)
    logits = generator.normal(size=(count, 3)) + skill * np.eye(3)[expected]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rankings = [
        sorted(zip(INTENTS, map(float, row), strict=True), key=lambda pair: -pair[1])
        for row in probabilities
    ]
    labels = [INTENTS[index] for index in expected]
    return scores.score(rankings, labels, INTENTS, "off", 800), probabilities


def test_measures_agree_with_scikit_learn() -> None:
    run, probabilities = random_run(0)
    found = scores.held_out([run], INTENTS, "off")
    answered = [INTENTS[index] for index in probabilities.argmax(1)]
    assert run.answered == answered
    assert found.accuracy.value == pytest.approx(np.mean(np.array(answered) == run.expected))
    assert found.macro_f1.value == pytest.approx(f1_score(run.expected, answered, average="macro"))
    assert found.log_loss.value == pytest.approx(log_loss(run.expected, probabilities))
    is_off = np.array(run.expected) == "off"
    score = 1 - probabilities[:, :2].max(1)
    assert found.off_topic_auroc is not None
    assert found.off_topic_auroc.value == pytest.approx(roc_auc_score(is_off, score))
    for index, intent in enumerate(INTENTS):
        by_intent = found.intents[intent]
        options = {"labels": INTENTS, "average": None}
        for mine, theirs in (
            (by_intent.precision, precision_score(run.expected, answered, **options)),
            (by_intent.recall, recall_score(run.expected, answered, **options)),
        ):
            assert mine is not None
            assert mine.value == pytest.approx(theirs[index])
            assert mine.low < mine.value < mine.high
        assert by_intent.support == run.expected.count(intent)
    assert sum(map(sum, found.confusion.counts)) == len(run.expected)


def test_an_answer_without_intent_is_off_topic_and_knows_nothing() -> None:
    run = scores.score([[], []], ["a", "off"], INTENTS, "off", 10)
    assert run.answered == ["off", "off"]
    assert run.probability == pytest.approx([1 / 3, 1 / 3])
    assert run.off_topic == [1.0, 1.0]
    assert scores.score([[]], ["a"], ["a", "b"], None, 10).answered == [""]


def test_probability_that_a_short_ranking_keeps_back_belongs_to_the_others() -> None:
    ranking = [("a", 0.6), ("b", 0.2)]
    run = scores.score([ranking, ranking], ["a", "d"], ["a", "b", "c", "d"], None, 10)
    assert run.probability == pytest.approx([0.6, 0.1])


def test_a_right_intent_without_probability_costs_much_but_not_everything() -> None:
    run = scores.score([[("a", 1.0), ("b", 0.0)]], ["b"], ["a", "b"], None, 10)
    found = scores.held_out([run], ["a", "b"], None)
    assert found.log_loss.value == pytest.approx(-math.log(1e-15))


def test_without_off_topic_examples_there_are_no_such_figures() -> None:
    run, _ = random_run(0)
    found = scores.held_out([run], INTENTS, None)
    assert found.off_topic_auroc is None
    assert found.false_accepts is None


def test_an_intent_that_is_never_answered_has_no_precision() -> None:
    run = scores.score([[("a", 1.0)]] * 4, ["a", "a", "b", "b"], ["a", "b"], None, 10)
    found = scores.cross_validated([run, run], ["a", "b"], None)
    assert found.intents["b"].precision is None
    assert found.intents["b"].recall is not None
    assert found.intents["b"].recall.value == 0


def test_false_accepts_at_95_percent_recall() -> None:
    ours = np.arange(20) / 100  # 19 of these 20 are accepted up to 0.18
    off_topic = np.array([0.1, 0.185, 0.5, 0.9])
    is_off_topic = np.array([False] * 20 + [True] * 4)
    assert scores.false_accepts(is_off_topic, np.concatenate([ours, off_topic])) == 0.25


def test_corrected_interval_is_that_of_nadeau_and_bengio() -> None:
    values, ratio = [0.9, 0.95, 0.92, 0.97, 0.91], 0.25
    found = scores.corrected_interval(values, ratio)
    deviation = math.sqrt((1 / 5 + ratio) * np.var(values, ddof=1))
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=deviation)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high))


def test_corrected_interval_leaves_out_what_is_not_defined() -> None:
    assert scores.corrected_interval([math.nan, math.nan], 0.25) is None
    found = scores.corrected_interval([math.nan, 0.5], 0.25)
    assert found is not None
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_intervals_of_shares_stay_within_0_and_1() -> None:
    run, _ = random_run(0, count=40, skill=5)
    other, _ = random_run(1, count=40, skill=5)
    found = scores.cross_validated([run, other], INTENTS, "off")
    assert found.accuracy.high <= 1
    assert found.accuracy.low >= 0


def test_bootstrap_interval_of_accuracy_is_near_the_normal_one() -> None:
    run, _ = random_run(0, count=1000)
    found = scores.held_out([run], INTENTS, "off").accuracy
    half = 1.96 * math.sqrt(found.value * (1 - found.value) / 1000)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_the_same_input_gives_the_same_intervals() -> None:
    run, _ = random_run(0)
    assert scores.held_out([run], INTENTS, "off") == scores.held_out([run], INTENTS, "off")


def test_learning_point_averages_over_the_runs() -> None:
    runs = [random_run(seed)[0] for seed in (0, 1)]
    point = scores.learning_point(runs, INTENTS, 5)
    accuracies = [scores.held_out([run], INTENTS, "off").accuracy.value for run in runs]
    assert point.accuracy.value == pytest.approx(np.mean(accuracies))
    assert (point.examples_per_intent, point.runs, point.train_examples) == (5, 2, 800)


def test_paired_test_on_splits_is_the_corrected_t_test() -> None:
    first = [random_run(seed, skill=3)[0] for seed in range(5)]
    second = [random_run(seed, skill=1)[0] for seed in range(10, 15)]
    accuracy, macro_f1 = scores.compare_splits(("x", first), ("y", second), INTENTS)
    assert (accuracy.measure, macro_f1.measure) == ("accuracy", "macro_f1")
    differences = [
        np.mean(np.array(a.expected) == a.answered) - np.mean(np.array(b.expected) == b.answered)
        for a, b in zip(first, second, strict=True)
    ]
    uncorrected = stats.ttest_1samp(differences, 0)
    correction = math.sqrt((1 / 5) / (1 / 5 + 200 / 800))
    assert accuracy.statistic == pytest.approx(uncorrected.statistic * correction)
    assert accuracy.p_value > uncorrected.pvalue
    assert accuracy.p_value < 0.05
    assert accuracy.difference.low > 0


def test_candidates_that_do_not_differ_are_not_told_apart() -> None:
    runs = [random_run(seed)[0] for seed in range(3)]
    for found in scores.compare_splits(("x", runs), ("y", runs), INTENTS):
        assert (found.p_value, found.statistic) == (1.0, None)
    assert scores.compare_held_out(("x", runs[0]), ("y", runs[0])).p_value == 1.0


def test_mcnemar_counts_the_examples_on_which_one_alone_is_right() -> None:
    run, _ = random_run(0)
    right = dataclasses.replace(run, answered=run.expected)
    wrong = ["a" if one != "a" else "b" for one in run.expected]
    worse = dataclasses.replace(run, answered=[*wrong[:8], *run.expected[8:]])
    found = scores.compare_held_out(("x", right), ("y", worse))
    assert (found.pairs, found.statistic) == (8, 8.0)
    assert found.p_value == pytest.approx(2 * 0.5**8)
    assert found.difference.value == pytest.approx(8 / 200)
