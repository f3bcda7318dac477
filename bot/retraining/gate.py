"""The quality gate: a new model must not lose on the fixed held-out set, neither against the live
model nor, small losses adding up from run to run, against the best that was live.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from bot import dataset as datasets
from bot.retraining.backends.base import Backend
from bot.retraining.registry import HELDOUT_FILE, Registry, Run
from bot.retraining.settings import Settings
from common.aws import AwsError
from common.confusion_matrix import ConfusionMatrix

log = logging.getLogger(__name__)
_TOLERANCE = 1e-9  # of the floating point
# The live endpoint was deleted, or failed: there is nothing to lose against.
_NO_ANSWER = {"ResourceNotFoundException", "ResourceUnavailableException"}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        passed: Whether the model may be deployed.
        reason: Why, or why not.
        metric: What was compared.
        value: That of the new model.
        live_run: The run that it was compared with; empty where none is live.
        live_value: Its value; None where it could not be compared.
        measured_again: Whether that was measured through the endpoint, the held-out set being
            another one than when the live model was trained.
        best_run: The best run that was live, measured on the same held-out set; see :func:`_best`.
        best_value: Its value; None where there is none.
    """

    passed: bool
    reason: str
    metric: str
    value: float
    live_run: str = ""
    live_value: float | None = None
    measured_again: bool = False
    best_run: str = ""
    best_value: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the verdict for the log."""
        return dataclasses.asdict(self)


def judge(
    settings: Settings, run: Run, live: Run | None, registry: Registry, backend: Backend
) -> Verdict:
    """Compare a measured run with the live one.

    Args:
        settings: Metric and limits.
        run: The new run.
        live: The live run; None where there is none.
        registry: Where the held-out set of the new run is.
        backend: Through which the live model is measured again, where the held-out set changed.
    """
    metric, value = settings.gate_metric, run.metrics[settings.gate_metric]
    live_value, again = _live_value(metric, run, live, registry, backend)
    best = _best(metric, run, registry.runs())
    best_run, best_value = (best.run_id, best.metrics[metric]) if best else ("", None)
    measures = [
        (measure, name)
        for measure, name in ((live_value, "the live model"), (best_value, "the best, " + best_run))
        if measure is not None
    ]
    if value < settings.gate_floor - _TOLERANCE:
        passed, reason = False, f"{metric} {value:.4f} is below the floor {settings.gate_floor:.4f}"
    elif not measures:
        passed, reason = True, f"{metric} {value:.4f}; no live model to compare with"
    else:
        passed = max(measures)[0] - value <= settings.gate_max_loss + _TOLERANCE
        compared = " and ".join(f"{measure:.4f} of {name}" for measure, name in measures)
        reason = f"{metric} {value:.4f} against {compared}"
        reason += f"; it may lose {settings.gate_max_loss:.4f}"
    live_run = live.run_id if live else ""
    return Verdict(passed, reason, metric, value, live_run, live_value, again, best_run, best_value)


def _best(metric: str, run: Run, runs: Sequence[Run]) -> Run | None:
    """Return the best run that was live and measured on the same held-out set.

    What a person decided counts: a model that was rolled back from is no measure, and one that the
    gate had refused and somebody made live all the same (``bot pipeline rollback --to``) is a new
    beginning.

    Args:
        metric: What is compared.
        run: The new run.
        runs: All of them, newest first.
    """
    found: list[Run] = []
    for one in runs:
        if one.run_id == run.run_id or not one.was_live:
            continue
        if one.rolled_back or one.heldout.get("sha256") != run.heldout["sha256"]:
            continue
        found.append(one)
        if not one.gate.get("passed", True):
            break
    return max(found, key=lambda one: float(one.metrics[metric]), default=None)


def _live_value(
    metric: str, run: Run, live: Run | None, registry: Registry, backend: Backend
) -> tuple[float | None, bool]:
    """Return the live model's value, and whether it was measured again."""
    if live is None:
        return None, False
    if live.metrics and live.heldout.get("sha256") == run.heldout["sha256"]:
        return live.metrics[metric], False
    heldout, _ = datasets.parse_json(registry.get(run.run_id, HELDOUT_FILE).decode("utf-8-sig"))
    log.info("Measuring the live model on %d examples", len(heldout.examples))
    try:
        predicted = backend.classify([example.text for example in heldout.examples])
    except AwsError as error:
        if error.code not in _NO_ANSWER:
            raise
        log.warning("The live model cannot be measured: %s", error)
        return None, False
    matrix = ConfusionMatrix.of([example.intent for example in heldout.examples], predicted)
    return matrix.metrics()[metric], True
