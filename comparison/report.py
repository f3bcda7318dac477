"""What the report of a comparison says: figures, marks, a decision."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison import assessment, decision, effort
from comparison.assessment import Assessment
from comparison.cost_report import Costs
from comparison.decision import Decision
from comparison.results import Candidate, Performance, Results


@dataclass(frozen=True)
class Report:
    """Everything that the report says.

    Attributes:
        results: The raw figures.
        costs: The bills of all ways to serve.
        assessments: The candidates with their marks, in the order of the figures.
        decision: The decision matrix, of all that no stand-in answers for; candidates go by
            their label.
    """

    results: Results
    costs: Costs
    assessments: tuple[Assessment, ...]
    decision: Decision

    @property
    def protocol(self) -> str:
        """The protocol whose scores are marked and stand in the summary."""
        return assessment.basis(self.results.candidates)

    @property
    def chosen(self) -> list[Candidate]:
        """Whom somebody would take: the first, and the default."""
        return [
            one.candidate
            for one in self.assessments
            if one.label in self.decision.winners or one.candidate.is_default
        ]

    def scores(self, candidate: Candidate) -> Performance | None:
        """Return a candidate's scores by that protocol."""
        return assessment.performance(candidate, self.protocol)

    def to_json(self) -> dict[str, Any]:
        """Return what follows from the raw figures: marks, facts, decision, cost."""
        return {
            "date": self.results.date,
            "protocol_marked": self.protocol,
            "candidates": [
                {
                    "key": one.candidate.key,
                    "name": one.candidate.name,
                    "stand_in": one.candidate.stand_in,
                    "served": one.route,
                    "bill": one.bill,
                    "values": {key: dataclasses.asdict(value) for key, value in one.values.items()},
                    "facts": {key: dataclasses.asdict(fact) for key, fact in one.facts.items()},
                    "marks": {key: dataclasses.asdict(mark) for key, mark in one.marks.items()},
                }
                for one in self.assessments
            ],
            "decision": self.decision.to_json(),
            "cost": self.costs.to_json(),
        }


def build(
    results: Results,
    costs: Costs,
    weights: dict[str, float] | None = None,
    root: Path = effort.ROOT,
) -> Report:
    """Mark and rank the candidates.

    Args:
        results: The raw figures.
        costs: The bills of all ways to serve.
        weights: By criterion; the original's coefficients by default.
        root: The repository that the facts of ease are counted in.
    """
    assessments = assessment.assess(results.candidates, costs, root)
    marks = {
        one.label: {key: mark.value for key, mark in one.marks.items()}
        for one in assessments
        if not one.candidate.stand_in
    }
    return Report(results, costs, tuple(assessments), decision.decide(marks, weights))
