"""Charts as SVG and PNG, all of one style; the same input gives the same bytes.

Lines and points differ in shape as well as in colour, for those who do not see the colours.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Text, axes and grid, and what is behind them; in a page both give way to the page's own colours,
# see Picture.inline. White that must stay is a shade off.
INK, PAPER, _WHITE = "#3b3f46", "#ffffff", "#fefefe"
# Okabe and Ito's palette, without its black and its yellow, which vanish on a dark or light page.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f")
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
        element = re.sub(r' xmlns(:xlink)?="[^"]*"', "", element).replace("xlink:href", "href")
        element = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{self.name}-", element)
        element = element.replace(INK, "currentColor").replace(f"fill: {PAPER}", "fill: none")
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
        "svg.hashsalt": "chart",
        "svg.fonttype": "none",  # text as text: a fifth of the size
        "font.family": "sans-serif",
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
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
    text = vector.read_text(encoding="utf-8")
    text = re.sub(
        r"\s*(<metadata>.*?</metadata>|<!--.*?-->|<!DOCTYPE.*?>)", "", text, flags=re.DOTALL
    )
    # A path in one line.
    text = re.sub(r'="[^"]*"', lambda found: " ".join(found[0].split()), text)
    vector.write_text(text, encoding="utf-8")
    return Picture(name, alternative, text)


def styles(names: Sequence[str]) -> dict[str, Style]:
    """Return looks that differ in colour and shape, so that a name looks the same everywhere."""
    return {
        name: {
            "color": COLOURS[index % len(COLOURS)],
            # One on in each round, so that a colour comes back with another shape.
            "marker": _MARKERS[(index + index // len(COLOURS)) % len(_MARKERS)],
            "linestyle": _DASHES[index // len(COLOURS) % len(_DASHES)],
        }
        for index, name in enumerate(names)
    }


def clear(axes: Axes) -> None:
    """Take away what carries nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color=INK, alpha=0.15, linewidth=0.6)
    axes.set_axisbelow(True)


def _wrap(text: str, width: int) -> str:
    """Break a text into lines, between words."""
    return textwrap.fill(text, width, break_long_words=False)


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
            faint = 0.35 if count == 0 else 1
            axes.text(column, row, str(count), ha="center", va="center", color=colour, alpha=faint)
    # A name takes as much as the figure has for a row: some of it is for names and title.
    row = 0.75 * min(axes.figure.get_size_inches()) * 72 / max(len(labels), 1)
    size = max(4.0, min(9.0, 0.65 * row))
    step = -(-len(labels) // _NAMED_LABELS)
    ticks, names = range(0, len(labels), step), list(labels)[::step]
    slope = 40 if len(labels) <= _NUMBERED_LABELS else 90
    axes.set_xticks(
        ticks, names, rotation=slope, ha="right", va="center" if slope == 90 else "top",
        rotation_mode="anchor", fontsize=size,
    )  # fmt: skip
    axes.set_yticks(ticks, names, fontsize=size)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True")
    axes.set_title(_wrap(title, 48))
    for side in axes.spines.values():
        side.set_visible(False)
