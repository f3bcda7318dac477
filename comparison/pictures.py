"""The pictures of the comparison: how each is drawn on the axes of a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bot.charts import INK, PAPER, Style, clear, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

    from comparison.cost_report import Costs


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
    for label in labels:
        anchored = [((label.x, label.y), place) for place in places]
        if label.high is not None and label.low is not None:
            anchored[2:2] = [((label.x, label.high), (0, 8, "center")),
                             ((label.x, label.low), (0, -9, "center"))]  # fmt: skip
        best: tuple[float, Annotation, Bbox] | None = None
        for rank, (at, (right, up, side)) in enumerate(anchored):
            text = axes.annotate(
                label.text, at, (right, up), textcoords="offset points",
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
    names = {option.key: option.name for option in costs.options}
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


@dataclass(frozen=True)
class Point:
    """A value with its confidence interval, at a place on an axis."""

    x: float
    y: float
    low: float
    high: float


def draw_learning_curves(
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
