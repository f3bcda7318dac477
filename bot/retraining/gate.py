"""The quality gate: a new model must not lose against the live one on the fixed held-out set."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from bot import dataset as datasets
from bot.confusion import ConfusionMatrix
from bot.retraining.backends.base import Backend
from bot.retraining.registry import HELDOUT_FILE, Registry, Run
from bot.retraining.settings import Settings
from components.aws import AwsError

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
    """

    passed: bool
    reason: str
    metric: str
    value: float
    live_run: str = ""
    live_value: float | None = None
    measured_again: bool = False

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
    lost = (live_value or 0.0) - value
    if value < settings.gate_floor - _TOLERANCE:
        passed, reason = False, f"{metric} {value:.4f} is below the floor {settings.gate_floor:.4f}"
    elif live_value is None:
        passed, reason = True, f"{metric} {value:.4f}; no live model to compare with"
    else:
        passed = lost <= settings.gate_max_loss + _TOLERANCE
        compared = f"{metric} {value:.4f} against {live_value:.4f} of the live model"
        reason = f"{compared}; it may lose {settings.gate_max_loss:.4f}"
    live_run = live.run_id if live else ""
    return Verdict(passed, reason, metric, value, live_run, live_value, again)


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
