"""What the report of a comparison says: figures, marks, a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from comparison import decision, scoring
from comparison.cost import Costs
from comparison.decision import Decision
from comparison.results import Candidate, Performance, Results
from comparison.scoring import Assessment


@dataclass(frozen=True)
class Report:
    """Everything that the report says."""

    results: Results  # the raw figures
    costs: Costs  # the bills of all ways to serve
    protocol: str  # whose scores are marked and stand in the summary
    assessments: tuple[Assessment, ...]  # the candidates with their marks, in the figures' order
    decision: Decision  # of all that no stand-in answers for; candidates go by their label

    @property
    def chosen(self) -> list[Candidate]:
        """Whom somebody would take: the first, and the default."""
        return [
            one.candidate
            for one in self.assessments
            if one.label in self.decision.winners or one.candidate.is_default
        ]

    def scores(self, candidate: Candidate) -> Performance | None:
        """Return a candidate's scores by the protocol that is marked."""
        return scoring.performance(candidate, self.protocol)

    def to_json(self) -> dict[str, Any]:
        """Return what follows from the raw figures: marks, facts, decision, cost."""

        def plain(values: Mapping[str, Any]) -> dict[str, Any]:
            return {key: asdict(value) for key, value in values.items()}

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
                    "values": plain(one.values),
                    "facts": plain(one.facts),
                    "marks": plain(one.marks),
                }
                for one in self.assessments
            ],
            "decision": self.decision.to_json(),
            "cost": self.costs.to_json(),
        }


def build(results: Results, costs: Costs, weights: dict[str, float] | None = None) -> Report:
    """Mark and rank the candidates.

    Args:
        results: The raw figures.
        costs: The bills of all ways to serve.
        weights: By criterion; the original's coefficients by default.
    """
    protocol = scoring.basis(results.candidates)
    assessments = tuple(scoring.assess(one, protocol, costs) for one in results.candidates)
    marks = {
        one.label: {key: mark.value for key, mark in one.marks.items()}
        for one in assessments
        if not one.candidate.stand_in
    }
    return Report(results, costs, protocol, assessments, decision.decide(marks, weights))
