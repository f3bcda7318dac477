"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

import numpy as np

_LOW, _HIGH = 0.25, 8.0


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of ``logits`` (… x classes), stable for large values."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature that minimises the log loss of held-out examples.

    Args:
        logits: Examples x classes.
        targets: Class of each example.

    Returns:
        A number between 0.25 and 8; dividing logits by it calibrates their softmax.
    """
    from scipy.optimize import minimize_scalar

    def log_loss(log_temperature: float) -> float:
        probabilities = softmax(logits / np.exp(log_temperature))
        right = probabilities[np.arange(len(targets)), targets]
        # A held-out share without an error would ask for infinite confidence: count one half
        # of an error, spread over the classes.
        return float(-np.log(right).sum() - 0.5 * np.log(probabilities).mean())

    best = minimize_scalar(log_loss, bounds=(np.log(_LOW), np.log(_HIGH)), method="bounded")
    return float(np.exp(best.x))
