"""From the raw figures of a comparison to the marks of its candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common import config
from common.config import unknown_name
from comparison import criteria, effort
from comparison.cost_report import Costs
from comparison.criteria import Mark, Measured
from comparison.effort import Fact
from comparison.results import CROSS_VALIDATION, HELD_OUT, Candidate, Interval, Performance

# The sustained load that is marked.
MARKED_CLIENTS = 16
# Lines of a candidate's definition that are about the comparison, not about the model.
_ADMINISTRATIVE = frozenset({"name", "route", "cost", "service", "local_model"})


@dataclass(frozen=True)
class Assessment:
    """A candidate with its marks, and what they rest on.

    Attributes:
        candidate: The candidate and its raw figures.
        route: The way it is served, as in ``effort.yml``.
        bill: Key of the way to serve whose bill it is marked by.
        values: What is marked, by the key of the measure.
        facts: The facts of both criteria of ease, by the key of the measure.
        marks: By criterion.
    """

    candidate: Candidate
    route: str
    bill: str
    values: dict[str, Measured]
    facts: dict[str, Fact]
    marks: dict[str, Mark]

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


def check(definitions: Mapping[str, Mapping[str, Any]], costs: Costs) -> None:
    """Check that each candidate has a name, facts and a bill, before anything is measured.

    Args:
        definitions: The lines of the candidates in the configuration, by their keys.
        costs: The bills of all ways to serve.

    Raises:
        UserError: A ``route`` or ``cost`` is not known, or a name is there twice; every fault is
            named.
    """
    names = Counter(definition.get("name", key) for key, definition in definitions.items())
    faults = [
        f"candidates: {count} of them are called '{name}'."
        for name, count in names.items()
        if count > 1
    ]
    for key, definition in definitions.items():
        route, bill = route_of(definition), bill_of(definition, costs)
        if route not in effort.routes():
            hint = unknown_name(route, effort.routes())
            faults.append(f"candidates, {key}: no 'route' is called '{route}'. {hint}")
        bills = [option.key for option in costs.options]
        if bill not in bills:
            hint = unknown_name(bill, bills)
            faults.append(f"candidates, {key}: no 'cost' is called '{bill}'. {hint}")
    config.refuse("the configuration", faults)


def assess(
    candidates: Sequence[Candidate], costs: Costs, root: Path = effort.ROOT
) -> list[Assessment]:
    """Mark candidates.

    Args:
        candidates: Their raw figures.
        costs: The bills of all ways to serve.
        root: The repository that the facts of ease are counted in.
    """
    protocol = basis(candidates)
    return [_assess(candidate, protocol, costs, root) for candidate in candidates]


def _assess(candidate: Candidate, protocol: str, costs: Costs, root: Path) -> Assessment:
    route = route_of(candidate.definition)
    bill = bill_of(candidate.definition, costs)
    facts = effort.facts(route, _facts_of_run(candidate), root)
    euros = costs.prices.euros(costs.option(bill).dollars())
    values = {
        **_speed(candidate),
        **_performance(performance(candidate, protocol)),
        "euros_a_month": Measured(euros),
        **{key: Measured(fact.value) for key, fact in facts.items()},
    }
    return Assessment(candidate, route, bill, values, facts, criteria.marks(values))


def _facts_of_run(candidate: Candidate) -> dict[str, Fact]:
    """Return the facts of ease that the run of the comparison holds."""
    model = {
        key: value for key, value in candidate.definition.items() if key not in _ADMINISTRATIVE
    }
    lines = yaml.safe_dump(model, allow_unicode=True).splitlines()
    source = "its lines in the configuration of the comparison"
    found = {"creation_lines": Fact(len(lines), source, is_counted=True)}
    if candidate.training:
        minutes = candidate.training.seconds / 60
        found["minutes_to_live"] = Fact(minutes, "its training in this run", is_counted=True)
    return found


def _speed(candidate: Candidate) -> dict[str, Measured]:
    speed = candidate.speed
    if speed is None:
        return {}
    found = {
        "p95_spaced": Measured(speed.spaced.p95),
        "p95_burst": Measured(speed.back_to_back.p95),
    }
    loads = {load.clients: load for load in speed.load}
    if MARKED_CLIENTS in loads:
        found["p95_load"] = Measured(loads[MARKED_CLIENTS].latency.p95)
    return found


def _performance(scores: Performance | None) -> dict[str, Measured]:
    if scores is None:
        return {}
    found: dict[str, Interval | None] = {
        "macro_f1": scores.macro_f1,
        "false_accepts": scores.false_accepts,
        "calibration_error": scores.calibration_error,
    }
    return {
        key: Measured(interval.value, interval.low, interval.high)
        for key, interval in found.items()
        if interval
    }
