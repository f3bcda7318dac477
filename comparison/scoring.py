"""From the raw figures of a comparison to the marks of its candidates, by published rules.

``scoring.yml`` says how a measured value becomes a mark from 1 to 5, ``effort.yml`` what it takes
to create and to industrialise a classifier. Where a measure has a confidence interval, so has the
mark.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common import config
from common.config import unknown_name
from comparison.cost import Costs
from comparison.results import CROSS_VALIDATION, HELD_OUT, Candidate, Performance
from comparison.settings import Spec

BEST, WORST = 5, 1
# The criteria of ease, which rest on facts.
EASE = ("creation", "industrialisation")
# The sustained load that is marked.
MARKED_CLIENTS = 16
# Lines of a candidate's definition that are about the comparison, not about the model.
_ADMINISTRATIVE = frozenset({"name", "route", "cost", "service", "local_model"})


@dataclass(frozen=True)
class Criterion:
    """What candidates are compared by; its default weight is the original's coefficient."""

    key: str
    title: str
    short: str  # for the head of a column
    weight: float


@dataclass(frozen=True)
class Measure:
    """A measured value and the rule that marks it; ``scoring.yml`` explains the fields."""

    key: str
    criterion: str
    title: str
    thresholds: tuple[float, ...]
    why: str
    unit: str = ""
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


_RULES = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
CRITERIA = tuple(Criterion(**one) for one in _RULES["criteria"])
MEASURES = tuple(Measure(**one) for one in _RULES["measures"])
DEFAULT_WEIGHTS: dict[str, float] = {one.key: one.weight for one in CRITERIA}
EFFORT = yaml.safe_load(Path(__file__).with_name("effort.yml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Measured:
    """A measured value, with the ends of its confidence interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Mark:
    """A mark for a criterion, from 1 to 5; a mean, hence not always whole."""

    value: float
    low: float  # at the worse ends of the confidence intervals
    high: float  # at the better ends
    missing: tuple[str, ...] = ()  # keys of the measures that were not there

    def show(self) -> str:
        """Return the mark for a table: ``"4"``, ``"3.7 (3–4)"``."""
        if math.isclose(self.low, self.high):
            return f"{self.value:.2g}"
        return f"{self.value:.2g} ({self.low:.2g}–{self.high:.2g})"


def marks(values: Mapping[str, Measured]) -> dict[str, Mark]:
    """Return the mark for each criterion of which something was measured.

    Args:
        values: What was measured, by the key of the measure; what is missing is left out of the
            means, and named in the mark.
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
    ends = [measure.mark(end) for end in (measured.low, measured.high) if end is not None]
    return value, min(ends, default=value), max(ends, default=value)


# --- candidates -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    """Something counted or stated about a way to serve, and where it comes from, in words."""

    value: float
    source: str
    items: tuple[str, ...] = ()  # what was counted, where that can be listed


@dataclass(frozen=True)
class Assessment:
    """A candidate with its marks, and what they rest on."""

    candidate: Candidate
    route: str  # the way it is served, as in effort.yml
    bill: str  # key of the way to serve whose bill it is marked by
    values: dict[str, Measured]  # what is marked, by the key of the measure
    facts: dict[str, Fact]  # those of both criteria of ease, likewise
    marks: dict[str, Mark]  # by criterion

    @property
    def label(self) -> str:
        """The candidate's name in tables, which says what stands in."""
        return label(self.candidate)


def label(candidate: Candidate) -> str:
    """Return a candidate's name, marked where its service or its encoder is not the real one."""
    if candidate.stand_in:
        return f"{candidate.name} (stand-in)"
    if candidate.encoder_asked and candidate.encoder:
        return f"{candidate.name} ({Path(candidate.encoder).name})"
    return candidate.name


def basis(candidates: Sequence[Candidate]) -> str:
    """Return the protocol whose scores are marked: one that all scored candidates have.

    Cross-validation where it can be; the held-out set otherwise, since the two do not compare.
    """
    scored = [one for one in candidates if one.cross_validation or one.held_out]
    return CROSS_VALIDATION if all(one.cross_validation for one in scored) else HELD_OUT


def performance(candidate: Candidate, protocol: str) -> Performance | None:
    """Return a candidate's scores by a protocol."""
    return candidate.cross_validation if protocol == CROSS_VALIDATION else candidate.held_out


def route_of(definition: Mapping[str, Any]) -> str:
    """Return the way that a candidate is served, as ``effort.yml`` names it.

    That is its ``route``; without one, the AWS service that it names, or the bot's process.
    """
    if "route" in definition:
        return str(definition["route"])
    if "service" in definition:
        return str(definition["service"]).lower()
    return "transformers" if "transformers" in definition else "in-process"


def bill_of(definition: Mapping[str, Any], costs: Costs) -> str:
    """Return the key of the bill that a candidate gets.

    That is its ``cost``; without one, a way to serve of its route that answers at any hour.
    """
    bills = {
        "comprehend": "comprehend-always",
        "sagemaker": f"sagemaker-{costs.profile.hosting_instance}",
    }
    return str(definition.get("cost", bills.get(route_of(definition), "in-process")))


def check(candidates: Mapping[str, Spec], costs: Costs) -> None:
    """Check that each candidate has a name, facts and a bill, before anything is measured.

    Raises:
        UserError: A ``route`` or ``cost`` is not known, or a name is there twice; every fault is
            named.
    """
    faults = [
        f"candidates: {count} of them are called '{name}'."
        for name, count in Counter(one.name for one in candidates.values()).items()
        if count > 1
    ]
    for key, spec in candidates.items():
        for what, name, known in (
            ("route", route_of(spec.definition), EFFORT),
            ("cost", bill_of(spec.definition, costs), costs.options),
        ):
            if name not in known:
                hint = unknown_name(name, known)
                faults.append(f"candidates, {key}: no '{what}' is called '{name}'. {hint}")
    config.refuse("the configuration", faults)


def assess(candidate: Candidate, protocol: str, costs: Costs) -> Assessment:
    """Mark a candidate by its raw figures, its scores by ``protocol`` among them."""
    route, bill = route_of(candidate.definition), bill_of(candidate.definition, costs)
    facts = _facts(candidate, route)
    values = {
        **_measured(candidate, performance(candidate, protocol)),
        "euros_a_month": Measured(costs.euros(bill)),
        **{key: Measured(fact.value) for key, fact in facts.items()},
    }
    return Assessment(candidate, route, bill, values, facts, marks(values))


def _facts(candidate: Candidate, route: str) -> dict[str, Fact]:
    """Return the facts about a candidate: those of its run, and those of ``effort.yml``."""
    model = {
        key: value for key, value in candidate.definition.items() if key not in _ADMINISTRATIVE
    }
    lines = yaml.safe_dump(model, allow_unicode=True).splitlines()
    run = {"creation_lines": Fact(len(lines), "its lines in the configuration of the comparison")}
    if candidate.training:
        run["minutes_to_live"] = Fact(candidate.training.seconds / 60, "its training in this run")
    found = {}
    for key, entry in EFFORT[route].items():
        if "source" in entry:
            items = tuple(entry.get("items", ()))
            found[key] = Fact(entry.get("value", len(items)), entry["source"], items)
        elif key in run:
            found[key] = run[key]
    return found


def _measured(candidate: Candidate, scores: Performance | None) -> dict[str, Measured]:
    found = {}
    if speed := candidate.speed:
        found["p95_spaced"] = Measured(speed.spaced.p95)
        found["p95_burst"] = Measured(speed.back_to_back.p95)
        for load in speed.load:
            if load.clients == MARKED_CLIENTS:
                found["p95_load"] = Measured(load.latency.p95)
    for key in ("macro_f1", "false_accepts", "calibration_error") if scores else ():
        if interval := getattr(scores, key):
            found[key] = Measured(interval.value, interval.low, interval.high)
    return found
