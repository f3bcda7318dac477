"""How well candidates classify: measures, their confidence intervals, and paired tests.

Sources: C. Nadeau and Y. Bengio, Inference for the generalization error, Machine Learning 52, 2003
(the variance of repeated splits, whose training parts overlap); R. Bouckaert and E. Frank,
Evaluating the replicability of significance tests, 2004 (the same for repeated cross-validation);
B. Efron and R. Tibshirani, An introduction to the bootstrap, 1993, chapter 13 (percentiles);
Q. McNemar, Psychometrika 12, 1947, in its exact form; D. Hendrycks and K. Gimpel, A baseline for
detecting misclassified and out-of-distribution examples, 2017 (AUROC, false accepts at 95 %).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.evaluation import expected_calibration_error
from common.confusion_matrix import ConfusionMatrix
from comparison.results import (
    CROSS_VALIDATION,
    HELD_OUT,
    Confusion,
    IntentScores,
    Interval,
    LearningPoint,
    Performance,
    Significance,
)
from components.remote import Ranking

CONFIDENCE = 0.95
RECALL = 0.95
# A probability of 0 for the right intent would make an infinite loss.
_LEAST_PROBABILITY = 1e-15
_RESAMPLES = 1000
_SEED = 0
T_TEST = "corrected resampled t-test (Nadeau and Bengio 2003, Bouckaert and Frank 2004)"
MCNEMAR = "McNemar's test, exact (McNemar 1947); the interval is a paired bootstrap"

Floats = NDArray[np.float64]
_Rows = NDArray[np.int64] | slice


@dataclass(frozen=True)
class Run:
    """What one trained model says of examples; lists of the same length, in the same order."""

    expected: list[str]  # the right intents
    # The first intents; off-topic where there is none and the material knows off-topic, since a
    # user gets the same answer to both; else `""`.
    answered: list[str]
    probability: list[float]  # given to the right intent
    confidence: list[float]  # given to the first intent; 0 where there is none
    off_topic: list[float]  # 1 minus the highest confidence in an intent that is ours
    train_examples: int  # examples that it was trained on


def score(
    rankings: Sequence[Ranking],
    expected: Sequence[str],
    intents: Sequence[str],
    off_topic: str | None,
    train_examples: int,
) -> Run:
    """Keep of answers what the measures need.

    Probability that a ranking does not give out (it is cut, or empty) belongs to the intents that
    it leaves out, in equal parts.

    Args:
        rankings: The answer to each example, best first, empty for no intent.
        expected: The right intents.
        intents: All intents of the material.
        off_topic: The off-topic intent, where there is one.
        train_examples: Examples that the model was trained on.
    """
    run = Run(list(expected), [], [], [], [], train_examples)
    for ranking, right in zip(rankings, expected, strict=True):
        given = dict(ranking)
        left_out = len(intents) - len(given)
        rest = max(0.0, 1 - sum(given.values())) / left_out if left_out > 0 else 0.0
        ours = [value for intent, value in ranking if intent != off_topic]
        run.answered.append(ranking[0][0] if ranking else off_topic or "")
        run.probability.append(given.get(right, rest))
        run.confidence.append(ranking[0][1] if ranking else 0.0)
        run.off_topic.append(1 - max(ours, default=0.0))
    return run


# --- measures ---------------------------------------------------------------------------------


def auroc(positive: NDArray[np.bool_], scores: Floats) -> float:
    """Return the area under the ROC curve; not a number without positives or negatives."""
    from scipy.stats import rankdata

    positives, total = int(positive.sum()), len(positive)
    if positives in (0, total):
        return math.nan
    # Mann and Whitney's U, of which the area is the share.
    u = rankdata(scores)[positive].sum() - positives * (positives + 1) / 2
    return float(u / (positives * (total - positives)))


def false_accepts(is_off_topic: NDArray[np.bool_], scores: Floats, recall: float = RECALL) -> float:
    """Return the share of off-topic examples accepted where ``recall`` of the others are.

    An example is accepted when its off-topic score is not above the threshold. Not a number
    without examples of either kind.
    """
    ours = np.sort(scores[~is_off_topic])
    if not len(ours) or not is_off_topic.any():
        return math.nan
    # Rounded first: 0.95 of 20 is 19.000000000000004 to a processor's multiplication.
    threshold = ours[math.ceil(round(recall * len(ours), 9)) - 1]
    return float((scores[is_off_topic] <= threshold).mean())


class _Arrays:
    """A run as arrays, of which rows can be drawn.

    Its figures are a vector, so that intervals of all of them are computed at once: accuracy,
    macro-F1, log loss, calibration error, AUROC, false accepts, precision of each intent, recall
    of each intent; not a number where a figure is not defined.
    """

    LOSS, SINGLE = 2, 6

    def __init__(self, run: Run, intents: Sequence[str], off_topic: str | None) -> None:
        position = {intent: index for index, intent in enumerate(intents)}
        self.intents = len(intents)
        self.expected = np.array([position[one] for one in run.expected])
        # An answer that is no intent of the material has a place of its own, which is never right.
        self.answered = np.array([position.get(one, self.intents) for one in run.answered])
        self.loss = -np.log(np.maximum(run.probability, _LEAST_PROBABILITY))
        self.confidence = np.asarray(run.confidence)
        self.off_topic = np.asarray(run.off_topic)
        self.is_off_topic = self.expected == position.get(off_topic or "", -1)

    def counts(self, rows: _Rows) -> tuple[Floats, Floats, Floats]:
        """Return right answers, examples and answers by intent."""
        expected, answered = self.expected[rows], self.answered[rows]
        size = self.intents + 1
        right, examples, answers = (
            np.bincount(values, minlength=size)[:-1].astype(float)
            for values in (expected[expected == answered], expected, answered)
        )
        return right, examples, answers

    def basic(self, rows: _Rows = slice(None)) -> Floats:
        """Return accuracy and macro-F1."""
        right, examples, answers = self.counts(rows)
        there = examples > 0
        f1 = 2 * right[there] / (examples[there] + answers[there])
        return np.array([right.sum() / len(self.expected[rows]), f1.mean()])

    def all(self, rows: _Rows = slice(None)) -> Floats:
        """Return every figure."""
        right, examples, answers = self.counts(rows)
        is_right = (self.expected == self.answered)[rows]
        with np.errstate(invalid="ignore"):
            by_intent = [right / answers, right / examples]
        single = [
            self.loss[rows].mean(),
            expected_calibration_error(self.confidence[rows].tolist(), is_right.tolist()),
            auroc(self.is_off_topic[rows], self.off_topic[rows]),
            false_accepts(self.is_off_topic[rows], self.off_topic[rows]),
        ]
        return np.concatenate([self.basic(rows), single, *by_intent])


# --- intervals --------------------------------------------------------------------------------


def corrected_interval(values: Sequence[float], ratio: float) -> Interval | None:
    """Return the mean over repeated splits with Nadeau and Bengio's corrected interval.

    Args:
        values: One a split; those that are not a number are left out.
        ratio: Scored examples for each trained one, in a split.
    """
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        return None
    from scipy.stats import t

    mean, half = float(np.mean(numbers)), 0.0
    if len(numbers) > 1:
        quantile = t.ppf((1 + CONFIDENCE) / 2, len(numbers) - 1)
        half = float(quantile * _corrected_deviation(numbers, ratio))
    return Interval(mean, mean - half, mean + half)


def _corrected_deviation(values: Sequence[float], ratio: float) -> float:
    """Return the standard deviation of the mean over splits whose training parts overlap."""
    return math.sqrt((1 / len(values) + ratio) * float(np.var(values, ddof=1)))


def _percentiles(value: float, samples: Floats) -> Interval | None:
    there = samples[~np.isnan(samples)]
    if math.isnan(value) or not len(there):
        return None
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(there, [tail, 100 - tail])
    # Of a value at the very edge of its samples, rounding may leave it outside.
    return Interval(value, min(float(low), value), max(float(high), value))


def _bootstrap(count: int) -> list[NDArray[np.int64]]:
    """Return rows drawn with replacement, the same ones for every candidate."""
    generator = np.random.default_rng(_SEED)
    return [generator.integers(0, count, count) for _ in range(_RESAMPLES)]


# --- figures of a candidate -------------------------------------------------------------------


def cross_validated(
    runs: Sequence[Run], intents: Sequence[str], off_topic: str | None
) -> Performance:
    """Sum up the runs of repeated splits."""
    arrays = [_Arrays(run, intents, off_topic) for run in runs]
    figures = np.array([one.all() for one in arrays])
    ratio = _mean_examples(runs) / _mean_trained(runs)
    intervals = [corrected_interval(column.tolist(), ratio) for column in figures.T]
    return _performance(CROSS_VALIDATION, runs, intents, intervals)


def held_out(runs: Sequence[Run], intents: Sequence[str], off_topic: str | None) -> Performance:
    """Sum up models that were trained on all examples and scored on the same held-out set."""
    arrays = [_Arrays(run, intents, off_topic) for run in runs]
    return _performance(HELD_OUT, runs, intents, _bootstrapped([one.all for one in arrays], runs))


def learning_point(runs: Sequence[Run], intents: Sequence[str], size: int | None) -> LearningPoint:
    """Sum up models that were trained on ``size`` examples an intent (None: all)."""
    arrays = [_Arrays(run, intents, None) for run in runs]
    accuracy, macro_f1 = _bootstrapped([one.basic for one in arrays], runs)
    assert accuracy
    assert macro_f1
    return LearningPoint(size, round(_mean_trained(runs)), len(runs), accuracy, macro_f1)


def _bootstrapped(
    figures: Sequence[Callable[..., Floats]], runs: Sequence[Run]
) -> list[Interval | None]:
    """Return the mean figures of runs on the same examples, with intervals from draws of these."""
    count = len(runs[0].expected)
    values = _mean([one() for one in figures])
    samples = np.array([_mean([one(rows) for one in figures]) for rows in _bootstrap(count)])
    return [_percentiles(float(one), column) for one, column in zip(values, samples.T, strict=True)]


def _mean(vectors: Sequence[Floats]) -> Floats:
    """Return the mean of the numbers in each place; not a number where there are none."""
    stacked = np.array(vectors)
    there = ~np.isnan(stacked)
    with np.errstate(invalid="ignore"):
        means: Floats = np.where(there, stacked, 0).sum(axis=0) / there.sum(axis=0)
    return means


def _mean_trained(runs: Sequence[Run]) -> float:
    return float(np.mean([run.train_examples for run in runs]))


def _mean_examples(runs: Sequence[Run]) -> float:
    return float(np.mean([len(run.expected) for run in runs]))


def _performance(
    protocol: str,
    runs: Sequence[Run],
    intents: Sequence[str],
    intervals: Sequence[Interval | None],
) -> Performance:
    # Within what can be: shares up to 1, the loss without end.
    limits = [math.inf if index == _Arrays.LOSS else 1 for index in range(len(intervals))]
    within = [
        one and Interval(one.value, max(0, one.low), min(limit, one.high))
        for one, limit in zip(intervals, limits, strict=True)
    ]
    accuracy, macro_f1, loss, calibration, area, accepts = within[: _Arrays.SINGLE]
    assert accuracy and macro_f1 and loss and calibration  # noqa: PT018
    precisions = within[_Arrays.SINGLE : _Arrays.SINGLE + len(intents)]
    recalls = within[_Arrays.SINGLE + len(intents) :]
    expected = [one for run in runs for one in run.expected]
    answered = [one for run in runs for one in run.answered]
    support = Counter(expected)
    matrix = ConfusionMatrix.of(expected, answered)
    return Performance(
        protocol=protocol,
        runs=len(runs),
        train_examples=_mean_trained(runs),
        test_examples=_mean_examples(runs),
        accuracy=accuracy,
        macro_f1=macro_f1,
        log_loss=loss,
        calibration_error=calibration,
        off_topic_auroc=area,
        false_accepts=accepts,
        intents={
            intent: IntentScores(precision, recall, support[intent])
            for intent, precision, recall in zip(intents, precisions, recalls, strict=True)
        },
        confusion=Confusion(matrix.labels, matrix.counts),
    )


# --- tests between two candidates -------------------------------------------------------------


def compare_splits(
    first: tuple[str, Sequence[Run]], second: tuple[str, Sequence[Run]], intents: Sequence[str]
) -> list[Significance]:
    """Test two candidates on the same splits, in accuracy and in macro-F1.

    Args:
        first: Key and runs of the better one.
        second: Key and runs of the other, of the same splits in the same order.
        intents: All intents of the material.
    """
    from scipy.stats import t

    ratio = _mean_examples(first[1]) / _mean_trained(first[1])
    figures = [
        np.array([one.basic() for one in (_Arrays(run, intents, None) for run in runs)])
        for _, runs in (first, second)
    ]
    results = []
    for measure, differences in zip(
        ("accuracy", "macro_f1"), (figures[0] - figures[1]).T.tolist(), strict=True
    ):
        interval = corrected_interval(differences, ratio)
        assert interval is not None
        deviation = _corrected_deviation(differences, ratio) if len(differences) > 1 else 0.0
        if deviation > 0:
            statistic = interval.value / deviation
            p_value = float(2 * t.sf(abs(statistic), len(differences) - 1))
        else:  # they differ by the same everywhere; nothing can be tested on a single split
            statistic = None
            p_value = 0.0 if interval.value and len(differences) > 1 else 1.0
        results.append(
            Significance(
                CROSS_VALIDATION, T_TEST, first[0], second[0], measure, interval, statistic,
                p_value, len(differences),
            )
        )  # fmt: skip
    return results


def compare_held_out(first: tuple[str, Run], second: tuple[str, Run]) -> Significance:
    """Test two trained models on the same held-out examples.

    Args:
        first: Key and run of the better one.
        second: Key and run of the other.
    """
    from scipy.stats import binomtest

    right = [np.array(run.expected) == np.array(run.answered) for run in (first[1], second[1])]
    only_first = int((right[0] & ~right[1]).sum())
    only_second = int((right[1] & ~right[0]).sum())
    pairs = only_first + only_second
    p_value = float(binomtest(only_first, pairs, 0.5).pvalue) if pairs else 1.0
    differences = right[0].astype(float) - right[1].astype(float)
    samples = np.array([differences[rows].mean() for rows in _bootstrap(len(differences))])
    interval = _percentiles(float(differences.mean()), samples)
    assert interval is not None
    return Significance(
        HELD_OUT, MCNEMAR, first[0], second[0], "accuracy", interval, float(only_first), p_value,
        pairs,
    )  # fmt: skip
