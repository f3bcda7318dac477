"""From marks to a decision: weighted sums, ranks, and how much they depend on the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, create_model

from common import config
from common.errors import UserError
from common.schema import Schema, parse
from comparison.scoring import CRITERIA, DEFAULT_WEIGHTS

SAMPLES = 10_000
SEED = 20_220

# The original's marks, see its table of criteria; with its coefficients they make 68 and 71.
ORIGINAL_MARKS: dict[str, dict[str, float]] = {
    "Comprehend": {
        "speed": 5, "performance": 4, "cost": 1, "creation": 5, "industrialisation": 4,
    },
    "CamemBERT on SageMaker": {
        "speed": 5, "performance": 5, "cost": 4, "creation": 2, "industrialisation": 2,
    },
}  # fmt: skip


# --- weights ----------------------------------------------------------------------------------

_Weights = create_model(  # type: ignore[call-overload]
    "_Weights",
    __base__=Schema,
    **{one.key: (float, Field(one.weight, ge=0, le=100)) for one in CRITERIA},
)


def weights_of(values: Any, where: str) -> dict[str, float]:
    """Return the weights of all criteria: those of ``values``, a mapping, and defaults.

    Raises:
        UserError: A criterion is unknown, a weight is no number from 0 to 100, or all are 0.
    """
    weights: dict[str, float] = parse(_Weights, values, where, "the weights").dict()
    if not any(weights.values()):
        raise UserError(f"{where}: at least one weight must be above 0.")
    return weights


def read_weights(path: Path) -> dict[str, float]:
    """Read weights from a YAML file: a mapping of criteria to numbers, or one under ``weights``.

    Raises:
        UserError: See :func:`weights_of`; or the file cannot be read.
    """
    content = config.read_yaml(path)
    if isinstance(content, Mapping) and "weights" in content:
        content = content["weights"]
    return weights_of(content, str(path))


# --- ranking ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ranked:
    """A candidate's place."""

    candidate: str  # its name
    marks: Mapping[str, float]  # from 1 to 5 by criterion
    total: float  # the weighted sum of the marks
    rank: int  # 1 is best; equal sums have the same rank, and the next rank is skipped


@dataclass(frozen=True)
class Decision:
    """The decision matrix."""

    weights: Mapping[str, float]  # by criterion
    ranking: tuple[Ranked, ...]  # the best first; equal ones by name
    unranked: Mapping[str, str]  # those without a mark in a criterion that counts, and why
    near: Mapping[str, float]  # share of the weightings around `weights` that each wins
    anywhere: Mapping[str, float]  # the same among all weightings that there can be
    # For each criterion, from which weight up to which one (the others as they are) the winner
    # stays first; no upper end is infinity. Empty without a single winner.
    winner_holds: Mapping[str, tuple[float, float]]

    @property
    def winners(self) -> list[str]:
        """The candidates of rank 1."""
        return [one.candidate for one in self.ranking if one.rank == 1]

    def to_json(self) -> dict[str, Any]:
        """Return the matrix; an infinite weight is null."""
        return {
            "weights": dict(self.weights),
            "ranking": [
                {**vars(one), "marks": dict(one.marks), "total": round(one.total, 6)}
                for one in self.ranking
            ],
            "unranked": dict(self.unranked),
            "stability": {
                "samples": SAMPLES,
                "seed": SEED,
                "near": dict(self.near),
                "anywhere": dict(self.anywhere),
            },
            "winner_holds": {
                key: [low, None if math.isinf(high) else high]
                for key, (low, high) in self.winner_holds.items()
            },
        }


def decide(
    marks: Mapping[str, Mapping[str, float]], weights: Mapping[str, float] | None = None
) -> Decision:
    """Rank candidates.

    Args:
        marks: For each candidate, its marks by criterion.
        weights: By criterion; the original's coefficients by default.
    """
    weights = dict(DEFAULT_WEIGHTS if weights is None else weights)
    counting = [one for one in CRITERIA if weights[one.key] > 0]
    unranked = {
        name: f"no mark for {', '.join(missing)}"
        for name, given in marks.items()
        if (missing := [one.title.lower() for one in counting if one.key not in given])
    }
    complete = {name: given for name, given in marks.items() if name not in unranked}
    totals = {
        name: sum(weights[one.key] * given[one.key] for one in counting)
        for name, given in complete.items()
    }
    ranking = tuple(
        Ranked(name, complete[name], total, 1 + sum(_above(one, total) for one in totals.values()))
        for name, total in sorted(totals.items(), key=lambda item: (-round(item[1], 9), item[0]))
    )
    names = [one.candidate for one in ranking]
    matrix = np.array([[complete[name].get(one.key, 0.0) for one in CRITERIA] for name in names])
    alone = [one.candidate for one in ranking if one.rank == 1]
    return Decision(
        weights,
        ranking,
        unranked,
        _shares(names, matrix, [weights[one.key] for one in CRITERIA]),
        _shares(names, matrix, [float(weights[one.key] > 0) for one in CRITERIA]),
        _holds(alone[0], complete, weights) if len(alone) == 1 else {},
    )


def _above(total: float, other: float) -> bool:
    """Whether a sum is greater, beyond what rounding makes of it."""
    return total > other and not math.isclose(total, other, rel_tol=0, abs_tol=1e-9)


def _shares(
    names: list[str], matrix: NDArray[np.float64], concentration: list[float]
) -> dict[str, float]:
    """Return the share of sampled weightings that each candidate wins; a tie is split.

    Weightings come from a Dirichlet distribution whose parameters are ``concentration``, without
    the criteria where it is 0: their mean is the weights in proportion. All 1 is the uniform
    distribution over all weightings.
    """
    if not names:
        return {}
    counting = np.flatnonzero(concentration)
    weightings = np.random.default_rng(SEED).dirichlet(
        np.asarray(concentration)[counting], size=SAMPLES
    )
    totals = weightings @ matrix[:, counting].T
    wins = totals >= totals.max(axis=1, keepdims=True) - 1e-9
    shares = (wins / wins.sum(axis=1, keepdims=True)).mean(axis=0)
    return dict(zip(names, shares.tolist(), strict=True))


def _holds(
    winner: str, marks: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return the range of each weight in which nobody overtakes the winner."""
    result = {}
    counting = [one.key for one in CRITERIA if weights[one.key] > 0]
    for key in counting:
        low, high = 0.0, math.inf
        for name, other in marks.items():
            if name == winner:
                continue
            lead = {one: marks[winner][one] - other[one] for one in counting}
            rest = sum(weights[one] * lead[one] for one in counting if one != key)
            if lead[key] > 0:
                low = max(low, -rest / lead[key])
            elif lead[key] < 0:
                high = min(high, rest / -lead[key])
        result[key] = (low, high)
    return result
