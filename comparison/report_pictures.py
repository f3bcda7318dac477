"""The pictures of the report, as far as there are figures for them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot import charts
from bot.charts import Picture, Style
from comparison import pictures
from comparison.assessment import label
from comparison.pictures import Point
from comparison.report import Report
from comparison.report_tables import percent
from comparison.results import Candidate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class _Drawing:
    """What :func:`bot.charts.save` needs."""

    name: str
    alternative: str
    draw: Callable[[Axes], None]
    size: tuple[float, float] = (7.0, 4.4)


def draw(report: Report, folder: Path) -> dict[str, Picture]:
    """Draw everything that there are figures for, as SVG and PNG; return the pictures by name."""
    return {
        one.name: charts.save(one.name, one.alternative, one.draw, folder, one.size)
        for one in (
            *_latency_accuracy(report),
            *_learning_curves(report),
            _break_even(report),
            *_confusions(report),
        )
    }


def confusion_name(candidate: Candidate) -> str:
    """Return the file name of a candidate's confusion matrix, without ending."""
    return f"confusion-{re.sub(r'[^a-zA-Z0-9]+', '-', candidate.key)}"


def _looks(report: Report) -> dict[str, Style]:
    """Return the looks of the candidates, the same in all pictures."""
    return charts.styles([label(one) for one in report.results.candidates])


def _latency_accuracy(report: Report) -> Iterator[_Drawing]:
    places, hollow = {}, set()
    for one in report.results.candidates:
        scores = report.scores(one)
        if one.speed and scores:
            right = scores.accuracy
            places[label(one)] = Point(one.speed.spaced.p95, right.value, right.low, right.high)
            if one.stand_in or one.encoder_asked:
                hollow.add(label(one))
    if places:
        yield _Drawing(
            "latency-accuracy",
            "Points: accuracy of each candidate against the latency of its answers",
            functools.partial(
                pictures.draw_latency_accuracy, points=places, looks=_looks(report), hollow=hollow
            ),
            (7.6, 4.6),
        )


def _learning_curves(report: Report) -> Iterator[_Drawing]:
    intents = len(report.results.train.intents)
    lines = {
        label(one): [
            Point(
                # All examples: as many an intent as there are on average.
                point.examples_per_intent or point.train_examples / intents,
                point.macro_f1.value,
                point.macro_f1.low,
                point.macro_f1.high,
            )
            for point in one.learning_curve
        ]
        for one in report.results.candidates
        if one.learning_curve
    }
    if lines:
        yield _Drawing(
            "learning-curves",
            "Lines: macro-F1 of each candidate against the training examples a class",
            functools.partial(pictures.draw_learning_curves, lines=lines, looks=_looks(report)),
            (7.6, 4.6),
        )


def _break_even(report: Report) -> _Drawing:
    return _Drawing(
        "break-even",
        "Curves: monthly cost of each way to serve against questions a day",
        functools.partial(pictures.draw_break_even, costs=report.costs),
    )


def _confusions(report: Report) -> Iterator[_Drawing]:
    for one in report.chosen:
        scores = report.scores(one)
        if scores:
            labels = [name or "(none)" for name in scores.confusion.labels]
            side = max(4.6, min(12.0, 2.6 + 0.42 * len(labels)))
            yield _Drawing(
                confusion_name(one),
                f"Confusion matrix of {label(one)}",
                functools.partial(
                    charts.draw_confusion,
                    labels=labels,
                    counts=scores.confusion.counts,
                    title=f"{label(one)}: {percent(scores.accuracy.value)} right",
                ),
                (side + 0.8, side),
            )
