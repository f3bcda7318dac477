"""The pictures of the comparison, as SVG and PNG; the same input gives the same bytes.

Lines and points differ in shape as well as in colour, for those who do not see the colours.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bot.comparison.cost_report import Costs

# Text, axes and grid, and what is behind them; in a page both give way to the page's own colours,
# see Picture.inline. White that must stay is a shade off.
_INK, _PAPER, _WHITE = "#3b3f46", "#ffffff", "#fefefe"
# Okabe and Ito's palette, without its black and its yellow, which vanish on a dark or light page.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ("-", "--", "-.", ":")
# Above so many labels, a confusion matrix shows shades instead of numbers and fewer names.
_NUMBERED_LABELS, _NAMED_LABELS = 16, 80


# How a line or a point looks: matplotlib's color, marker and linestyle.
Style = dict[str, str]


@dataclass(frozen=True)
class Picture:
    """A drawing that stands in files and in a page.

    Attributes:
        name: Its file name without ending; also what its parts are named after in a page.
        alternative: What it shows, in words.
        svg: The SVG document.
    """

    name: str
    alternative: str
    svg: str

    def inline(self) -> str:
        """Return an SVG element for a page: in the page's colours, no name used twice."""
        element = self.svg[self.svg.index("<svg") :]
        element = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", element, flags=re.DOTALL)
        element = re.sub(r' xmlns(:xlink)?="[^"]*"', "", element).replace("xlink:href", "href")
        element = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{self.name}-", element)
        element = element.replace(_INK, "currentColor").replace(f"fill: {_PAPER}", "fill: none")
        label = self.alternative.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        return element.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()


def save(
    name: str,
    alternative: str,
    draw: Callable[[Axes], None],
    folder: Path,
    size: tuple[float, float] = (7.0, 4.4),
) -> Picture:
    """Draw into ``folder`` as SVG and PNG.

    Args:
        name: File name without ending.
        alternative: What the picture shows, in words.
        draw: Draws on the axes that it is given.
        folder: It is made where it is missing.
        size: Width and height in inches.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = {
        "svg.hashsalt": "comparison",
        "figure.facecolor": _PAPER,
        "savefig.facecolor": _PAPER,
        "axes.facecolor": _PAPER,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.titlesize": "medium",
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "legend.fontsize": "small",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Title": alternative})
        vector = folder / f"{name}.svg"
        figure.savefig(vector, metadata={"Date": None, "Title": alternative})
    return Picture(name, alternative, vector.read_text(encoding="utf-8"))


def styles(names: Sequence[str]) -> dict[str, Style]:
    """Return looks that differ in colour and shape, so that a name looks the same everywhere."""
    return {
        name: {
            "color": _COLOURS[index % len(_COLOURS)],
            "marker": _MARKERS[index % len(_MARKERS)],
            "linestyle": _DASHES[index // len(_COLOURS) % len(_DASHES)],
        }
        for index, name in enumerate(names)
    }


def _clear(axes: Axes) -> None:
    """Take away what carries nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color=_INK, alpha=0.15, linewidth=0.6)
    axes.set_axisbelow(True)


def _wrap(text: str, width: int) -> str:
    """Break a text into lines, between words."""
    return textwrap.fill(text, width, break_long_words=False)


def _legend_below(axes: Axes) -> None:
    """Put the legend where it hides nothing, however long the names are."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncol=2)


def draw_break_even(axes: Axes, costs: Costs) -> None:
    """Draw euros a month against questions a day, with the volumes where ways overtake."""
    names = {option.key: option.name for option in costs.options}
    looks = styles(list(costs.curves))
    for key, dollars in costs.curves.items():
        style = looks[key]
        euros = [costs.prices.euros(amount) for amount in dollars]
        if max(euros) == 0:
            axes.plot([], [], label=f"{names[key]}: no marginal cost", **style)
            continue
        axes.plot(costs.volumes, euros, label=names[key], markevery=24, markersize=4, **style)
    for one in costs.break_even:
        axes.plot(
            one.questions_per_day,
            costs.prices.euros(one.dollars),
            marker="o",
            markersize=9,
            markerfacecolor="none",
            color=_INK,
        )
    usage = costs.profile.questions_per_day
    axes.axvline(usage, color=_INK, linewidth=0.8, linestyle=":")
    axes.annotate(
        "the profile",
        (usage, 1),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        xytext=(3, -10),
        fontsize="x-small",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_xlim(10, costs.volumes[-1])
    axes.set_xlabel("Questions a day")
    axes.set_ylabel("Euros a month")
    axes.set_title("Cost against volume; rings: one way starts to cost more than another")
    _legend_below(axes)
    _clear(axes)


def draw_confusion(
    axes: Axes, labels: Sequence[str], counts: Sequence[Sequence[int]], title: str
) -> None:
    """Draw a confusion matrix: a row is the true intent, a column the predicted one."""
    matrix = np.asarray(counts)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= _NUMBERED_LABELS:
        for (row, column), count in np.ndenumerate(matrix):
            colour = _WHITE if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    size = max(3.0, min(9.0, 140 / max(len(labels), 1)))
    step = -(-len(labels) // _NAMED_LABELS)
    ticks, names = range(0, len(labels), step), list(labels)[::step]
    axes.set_xticks(ticks, names, rotation=40, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(ticks, names, fontsize=size)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True")
    axes.set_title(_wrap(title, 48))
    for side in axes.spines.values():
        side.set_visible(False)


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
    for name, points in lines.items():
        style = looks[name]
        at = [point.x for point in points]
        axes.plot(at, [point.y for point in points], label=name, markersize=4, **style)
        low, high = [point.low for point in points], [point.high for point in points]
        axes.fill_between(at, low, high, color=style["color"], alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    ticks = sorted({point.x for points in lines.values() for point in points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("Training examples a class")
    axes.set_ylabel("Macro-F1")
    axes.set_title("Learning curves")
    _legend_below(axes)
    _clear(axes)


def draw_latency_accuracy(
    axes: Axes, points: Mapping[str, Point], looks: Mapping[str, Style], hollow: set[str]
) -> None:
    """Draw accuracy (y, with interval) against latency (x, seconds).

    Args:
        axes: Where.
        points: By name.
        looks: By name.
        hollow: The names whose figures are a stand-in's.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    for name, point in points.items():
        style = looks[name]
        axes.errorbar(
            point.x * 1e3,
            point.y * 100,
            # A percentile interval need not hold the mean.
            yerr=[[max(0, point.y - point.low) * 100], [max(0, point.high - point.y) * 100]],
            label=name,
            color=style["color"],
            marker=style["marker"],
            markersize=8,
            markerfacecolor="none" if name in hollow else style["color"],
            linestyle="none",
            capsize=3,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("Latency of a question, p95, milliseconds (left is better)")
    axes.set_ylabel("Accuracy, %")
    axes.set_title("Latency against accuracy, with 95 % intervals")
    _legend_below(axes)
    _clear(axes)


def draw_shares(
    axes: Axes, names: Sequence[str], series: Mapping[str, Sequence[float]], title: str
) -> None:
    """Draw shares as bars, one group a name and one bar a series; the first name on top."""
    height = 0.8 / len(series)
    for index, (label, shares) in enumerate(series.items()):
        at = [row + (index - (len(series) - 1) / 2) * height for row in range(len(names))]
        bars = axes.barh(
            at, [share * 100 for share in shares], height, label=label, color=_COLOURS[index]
        )
        axes.bar_label(
            bars, [f"{share * 100:.1f} %" for share in shares], padding=3, fontsize="x-small"
        )
    axes.set_yticks(range(len(names)), [_wrap(name, 28) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 112)
    axes.set_xlabel("Share of the weightings that it wins, %")
    axes.set_title(title)
    _legend_below(axes)
    _clear(axes)
