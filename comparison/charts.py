"""The pictures of the comparison: which there are figures for, and how each is drawn."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bot import charts
from bot.charts import INK, PAPER, Picture, Style, clear, styles
from comparison.cost import Costs
from comparison.report import Report
from comparison.report_tables import percent
from comparison.results import Candidate
from comparison.scoring import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

PICTURES = "pictures"


def draw(report: Report, folder: Path) -> dict[str, Picture]:
    """Draw everything that there are figures for, as SVG and PNG; return the pictures by name."""
    looks = styles([label(one) for one in report.results.candidates])
    return {
        name: charts.save(name, alternative, drawn, folder, size)
        for name, alternative, drawn, size in _drawings(report, looks)
    }


def draw_costs(costs: Costs, folder: Path) -> Picture:
    """Draw what serving costs, as SVG and PNG."""
    alternative = "Curves of the monthly cost of each way to serve against questions a day"
    drawing = functools.partial(draw_break_even, costs=costs)
    return charts.save("break-even", alternative, drawing, folder)


def confusion_name(candidate: Candidate) -> str:
    """Return the file name of a candidate's confusion matrix, without ending."""
    return f"confusion-{re.sub(r'[^a-zA-Z0-9]+', '-', candidate.key)}"


def _drawings(
    report: Report, looks: Mapping[str, Style]
) -> Iterator[tuple[str, str, Callable[[Axes], None], tuple[float, float]]]:
    """Yield name, alternative text, what draws on axes, and size in inches."""
    places, lines, hollow = {}, {}, set()
    for one in report.results.candidates:
        scores, name = report.scores(one), label(one)
        if one.speed and scores:
            right = scores.accuracy
            places[name] = Point(one.speed.spaced.p95, right.value, right.low, right.high)
        if one.stand_in or one.encoder_asked:
            hollow.add(name)
        if one.learning_curve:
            lines[name] = [
                Point(
                    # All examples: as many an intent as there are on average.
                    point.examples_per_intent
                    or point.train_examples / len(report.results.train.intents),
                    point.macro_f1.value,
                    point.macro_f1.low,
                    point.macro_f1.high,
                )
                for point in one.learning_curve
            ]
    if places:
        yield (
            "latency-accuracy",
            "Points: accuracy of each candidate against the latency of its answers",
            functools.partial(draw_latency_accuracy, points=places, looks=looks, hollow=hollow),
            (7.6, 4.6),
        )
    if lines:
        yield (
            "learning-curves",
            "Lines: macro-F1 of each candidate against the training examples a class",
            functools.partial(_draw_learning_curves, lines=lines, looks=looks),
            (7.6, 4.6),
        )
    yield (
        "break-even",
        "Curves: monthly cost of each way to serve against questions a day",
        functools.partial(draw_break_even, costs=report.costs),
        (7.0, 4.4),
    )
    for one in report.chosen:
        if scores := report.scores(one):
            labels = [name or "(none)" for name in scores.confusion.labels]
            side = max(4.6, min(12.0, 2.6 + 0.42 * len(labels)))
            yield (
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


@dataclass(frozen=True)
class Point:
    """A value with its confidence interval, at a place on an axis."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point, or to a vertical line through it from low to high."""

    text: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None


# Where a label may stand, the best place first: points to the right and up, and where that is of
# the text. Beside a point; above or below a line that begins there.
_BESIDE = [
    (side * (9 + abs(up) / 4), up, "left" if side > 0 else "right")
    for up in (0, 9, -9, 18, -18, 27, -27)
    for side in (1, -1)
]
_ALONG = [(right, up, "left") for right in (5, 50, 95, 140) for up in (8, -9)]


def _write(
    axes: Axes,
    labels: Sequence[Label],
    places: Sequence[tuple[float, float, str]],
    obstacles: Sequence[Bbox] = (),
) -> list[Bbox]:
    """Write each label where it hides least: other labels and ``obstacles``, in pixels.

    The limits of the axes must stand. Returns the obstacles with the labels.
    """
    axes.figure.draw_without_rendering()  # which decides where the axes are
    frame, taken = axes.get_window_extent(), list(obstacles)
    for one in labels:
        anchored = [((one.x, one.y), place) for place in places]
        if one.high is not None and one.low is not None:
            anchored[2:2] = [((one.x, one.high), (0, 8, "center")),
                             ((one.x, one.low), (0, -9, "center"))]  # fmt: skip
        best: tuple[float, Annotation, Bbox] | None = None
        for rank, (at, (right, up, side)) in enumerate(anchored):
            text = axes.annotate(
                one.text, at, (right, up), textcoords="offset points",
                ha=side, va="center", fontsize="small", in_layout=False,
            )  # fmt: skip
            box = text.get_window_extent().padded(1)
            hidden = sum(_overlap(box, other) for other in taken)
            outside = box.width * box.height - _overlap(box, frame)
            cost = 40 * hidden + 80 * outside + 6 * rank
            if best is None or cost < best[0]:
                if best:
                    best[1].remove()
                best = cost, text, box
            else:
                text.remove()
        if best:
            taken.append(best[2])
    return taken


def _overlap(one: Bbox, other: Bbox) -> float:
    """Return the area that two boxes share."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)


def _around(axes: Axes, x: float, low: float, high: float, reach: float) -> Bbox:
    """Return the box around a point, or around a vertical line, in pixels."""
    from matplotlib.transforms import Bbox

    return Bbox(axes.transData.transform([(x, low), (x, high)])).padded(reach)


def draw_break_even(axes: Axes, costs: Costs) -> None:
    """Draw euros a month against questions a day, with the volumes where ways overtake."""
    names = {key: option.name for key, option in costs.options.items()}
    looks = styles(list(costs.curves))
    labels, free = [], []
    start = 10
    first = next(index for index, volume in enumerate(costs.volumes) if volume >= start)
    shown: list[tuple[int, float]] = []
    for key, dollars in costs.curves.items():
        euros = [costs.prices.euros(amount) for amount in dollars]
        if max(euros) == 0:
            free.append(f"{names[key]}: nothing more to pay")
            continue
        axes.plot(costs.volumes, euros, color=looks[key]["color"], linewidth=1.8)
        labels.append(Label(names[key], costs.volumes[first], euros[first]))
        shown += list(zip(costs.volumes, euros, strict=True))[first::3]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_xlim(start, costs.volumes[-1])
    low, high = axes.get_ylim()
    axes.set_ylim(low / 4, high)
    axes.minorticks_off()
    usage = costs.profile.questions_per_day
    axes.axvline(usage, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel("Questions a day")
    axes.set_ylabel("Euros a month")
    axes.set_title("What serving costs; rings: where one way starts to cost more than another")
    clear(axes)
    rings = []
    for one in costs.break_even:
        x, y = one.questions_per_day, costs.prices.euros(one.dollars)
        axes.plot(x, y, marker="o", markersize=8, markerfacecolor="none", color=INK)
        rings.append(Label(f"{x:,}", x, y))
    axes.figure.draw_without_rendering()  # which decides where the axes are
    lines = [_around(axes, x, y, y, 2) for x, y in shown]
    taken = _write(axes, labels, _ALONG, [*lines, _around(axes, usage, low, high, 2)])
    floor = [Label(text, start, low / 2.6) for text in free]
    at_usage = Label(f"this usage: {usage:,.0f} a day", usage, low / 2.6)
    taken = _write(axes, [*floor, at_usage], _BESIDE[:1], taken)
    _write(axes, rings, _BESIDE, taken)


def _draw_learning_curves(
    axes: Axes, lines: Mapping[str, Sequence[Point]], looks: Mapping[str, Style]
) -> None:
    """Draw macro-F1 against examples a class, with confidence bands."""
    ends = []
    for name, points in lines.items():
        style = looks[name]
        at = [point.x for point in points]
        axes.plot(at, [point.y for point in points], markersize=4, **style)
        low, high = [point.low for point in points], [point.high for point in points]
        axes.fill_between(at, low, high, color=style["color"], alpha=0.08, linewidth=0)
        ends.append((points[-1].x, points[-1].y, name, style["color"]))
    axes.set_xscale("log")
    ticks = sorted({point.x for points in lines.values() for point in points})
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:.2f}")
    axes.set_xlabel("Training examples a class")
    axes.set_ylabel("Macro-F1")
    axes.set_title("Learning curves, with 95 % intervals")
    clear(axes)
    _name_ends(axes, ends)


def _name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write names to the right of the axes, in the order of their lines and never one on another.

    Args:
        axes: Their limits must stand.
        ends: Where each line ends, its name and its colour; a thin line leads there.
    """
    from sklearn.isotonic import isotonic_regression

    low, high = axes.get_ylim()
    ordered = sorted(ends, key=lambda one: one[1])
    # The places nearest to the ends, with room for a text from each to the next.
    steps = (high - low) / 20 * np.arange(len(ordered))
    places = isotonic_regression([y for _, y, _, _ in ordered] - steps) + steps
    for (x, y, name, color), place in zip(ordered, places.tolist(), strict=True):
        axes.annotate(
            name, (x, y), (1.05, place), textcoords=axes.get_yaxis_transform(), va="center",
            fontsize="small", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.8, "shrinkA": 2,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def draw_latency_accuracy(
    axes: Axes, points: Mapping[str, Point], looks: Mapping[str, Style], hollow: set[str]
) -> None:
    """Draw accuracy (y, with interval) against latency (x, seconds).

    Args:
        axes: Where.
        points: By name.
        looks: By name.
        hollow: The names of those whose service or encoder is not the real one.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    for name, point in points.items():
        style = looks[name]
        axes.errorbar(
            point.x * 1e3,
            point.y * 100,
            # A percentile interval need not hold the mean.
            yerr=[[max(0, point.y - point.low) * 100], [max(0, point.high - point.y) * 100]],
            color=style["color"],
            elinewidth=1.2,
            marker=style["marker"],
            markersize=8,
            markerfacecolor=PAPER if name in hollow else style["color"],
            linestyle="none",
        )
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("Latency of a question, p95, milliseconds")
    axes.set_ylabel("Accuracy, %")
    hollows = "; hollow: something stands in" if hollow else ""
    axes.set_title(f"Up and to the left is better. Bars: 95 % intervals{hollows}")
    clear(axes)
    axes.figure.draw_without_rendering()  # which decides where the axes are
    marks = [
        box
        for point in points.values()
        for box in (
            _around(axes, point.x * 1e3, point.y * 100, point.y * 100, 6),
            _around(axes, point.x * 1e3, point.low * 100, point.high * 100, 3),
        )
    ]
    labels = [
        Label(name, point.x * 1e3, point.y * 100, point.low * 100, point.high * 100)
        for name, point in points.items()
    ]
    _write(axes, labels, _BESIDE, marks)
