"""The published rules: how what was measured becomes marks from 1 to 5.

A criterion's mark is the mean of the marks of its measures, weighted by their shares. Where a
measure has a confidence interval, so has the mark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

BEST, WORST = 5, 1


@dataclass(frozen=True)
class Criterion:
    """What candidates are compared by.

    Attributes:
        key: Its name in files.
        title: Its name for people.
        short: The same for the head of a column.
        weight: Its default weight, which is the original's coefficient.
    """

    key: str
    title: str
    short: str
    weight: float


CRITERIA = (
    Criterion("speed", "Inference speed", "Speed", 5),
    Criterion("performance", "Model performance", "Performance", 4),
    Criterion("cost", "Cost", "Cost", 4),
    Criterion("creation", "Ease of creation", "Creation", 3),
    Criterion("industrialisation", "Ease of industrialisation", "Industrial.", 2),
)
DEFAULT_WEIGHTS: dict[str, float] = {one.key: one.weight for one in CRITERIA}


@dataclass(frozen=True)
class Measure:
    """A measured value and the rule that marks it.

    Attributes:
        key: Its name in files.
        criterion: The criterion that it belongs to.
        title: What it is, for people.
        unit: Its unit: ``s``, ``%`` (of shares from 0 to 1), ``€``, ``min`` or nothing.
        thresholds: The worst values that still get 5, 4, 3 and 2; what is worse gets 1.
        why: Where the thresholds come from.
        share: Its part in the criterion, against the criterion's other measures.
        rising: Whether more is better.
    """

    key: str
    criterion: str
    title: str
    unit: str
    thresholds: tuple[float, float, float, float]
    why: str
    share: float = 1
    rising: bool = False

    def mark(self, value: float) -> int:
        """Return the mark, 1 to 5."""
        for index, threshold in enumerate(self.thresholds):
            if value >= threshold if self.rising else value <= threshold:
                return BEST - index
        return WORST

    def show(self, value: float) -> str:
        """Return a value with its unit: ``"95 %"``."""
        if self.unit == "%":
            return f"{value * 100:.3g} %"
        number = f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
        return f"{number} {self.unit}".rstrip()

    def rule(self) -> str:
        """Return the thresholds in words: ``"≤ 0.1 s: 5, ≤ 0.3 s: 4, …"``."""
        sign = "≥" if self.rising else "≤"
        steps = [
            f"{sign} {self.show(threshold)}: {BEST - index}"
            for index, threshold in enumerate(self.thresholds)
        ]
        return f"{', '.join(steps)}, else {WORST}"


# Jakob Nielsen, Usability Engineering, 1993, chapter 5: 0.1 s feels instantaneous, 1 s keeps the
# flow of thought; between and beyond by half a decade each.
_WAIT = (0.1, 0.3, 1.0, 3.0)
_NIELSEN = "Nielsen's limits: 0.1 s feels instantaneous, 1 s keeps the flow of thought"
_HALVES = "twice as many errors (or so) for each mark less"

MEASURES = (
    Measure(
        "p95_spaced", "speed", "Answer, one question a second, p95", "s", _WAIT, _NIELSEN
    ),
    Measure("p95_burst", "speed", "Answer, ten questions back to back, p95", "s", _WAIT, _NIELSEN),
    Measure("p95_load", "speed", "Answer, sixteen clients at once, p95", "s", _WAIT, _NIELSEN),
    Measure(
        "macro_f1", "performance", "Macro-F1", "%", (0.98, 0.94, 0.88, 0.75), _HALVES,
        share=2, rising=True,
    ),
    Measure(
        "false_accepts", "performance", "Off-topic messages accepted at 95 % recall", "%",
        (0.05, 0.10, 0.20, 0.40), _HALVES,
    ),
    Measure(
        "calibration_error", "performance", "Expected calibration error", "%",
        (0.02, 0.05, 0.10, 0.20), _HALVES,
    ),
    Measure(
        "euros_a_month", "cost", "Euros a month for the usage profile", "€",
        (30, 100, 300, 1000), "half a decade for each mark; the original's marks follow",
    ),
    Measure(
        "creation_lines", "creation", "Lines that a user writes", "", (5, 20, 60, 200),
        "a few lines, a screen, a page or two, a program",
    ),
    Measure(
        "creation_commands", "creation", "Commands to a trained model", "", (1, 2, 4, 8),
        "twice as many for each mark less",
    ),
    Measure(
        "minimum_examples", "creation", "Least examples a class", "", (2, 10, 50, 200),
        "what one person writes in a minute, ten minutes, an hour, a day",
    ),
    Measure(
        "creation_knowledge", "creation", "Fields of knowledge beside Rasa", "", (0, 1, 2, 4),
        "one more field for each mark less, then two",
    ),
    Measure(
        "infrastructure_lines", "industrialisation", "Lines of infrastructure to keep", "",
        (0, 200, 600, 1800), "nothing; then thrice as many for each mark less",
    ),
    Measure(
        "resources", "industrialisation", "Resources in the cloud to operate", "",
        (0, 10, 25, 60), "nothing; then some 2.5 times as many for each mark less",
    ),
    Measure(
        "services", "industrialisation", "Cloud services to know", "", (0, 2, 5, 8),
        "nothing; then some three more for each mark less",
    ),
    Measure(
        "operation_commands", "industrialisation", "Commands to set it up", "", (1, 2, 4, 8),
        "twice as many for each mark less",
    ),
    Measure(
        "minutes_to_live", "industrialisation", "Minutes from dataset to live model", "min",
        (2, 10, 20, 40), "a wait, a coffee, a meeting, a lunch; the original: 13 and 33 minutes",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A measured value, with the ends of its confidence interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Mark:
    """A mark for a criterion.

    Attributes:
        value: From 1 to 5; a mean, hence not always whole.
        low: The mark at the worse ends of the confidence intervals.
        high: The mark at the better ends.
        missing: Keys of the measures that were not there.
    """

    value: float
    low: float
    high: float
    missing: tuple[str, ...] = ()

    def show(self) -> str:
        """Return the mark for a table: ``"4"``, ``"3.7 (3–4)"``."""
        if math.isclose(self.low, self.high):
            return f"{self.value:.2g}"
        return f"{self.value:.2g} ({self.low:.2g}–{self.high:.2g})"


def marks(values: Mapping[str, Measured]) -> dict[str, Mark]:
    """Mark a candidate.

    Args:
        values: What was measured, by the key of the measure; what is missing is left out of the
            means, and named in the mark.

    Returns:
        The mark for each criterion of which something was measured.
    """
    result = {}
    for criterion in CRITERIA:
        measures = [one for one in MEASURES if one.criterion == criterion.key]
        there = [one for one in measures if one.key in values]
        if not there:
            continue
        total = sum(one.share for one in there)
        ends = [_ends(one, values[one.key]) for one in there]
        value, low, high = (
            sum(one.share * end[position] for one, end in zip(there, ends, strict=True)) / total
            for position in range(3)
        )
        missing = tuple(one.key for one in measures if one.key not in values)
        result[criterion.key] = Mark(value, low, high, missing)
    return result


def _ends(measure: Measure, measured: Measured) -> tuple[int, int, int]:
    """Return the marks of the value and of the worse and the better end of its interval."""
    value = measure.mark(measured.value)
    ends = [measure.mark(end) for end in (measured.low, measured.high) if end is not None] or [
        value
    ]
    return value, min(ends), max(ends)
