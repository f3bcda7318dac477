"""The metrics that a training container prints, and how SageMaker finds them in its log.

https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
"""

from __future__ import annotations

# `validation_…` on the share of the examples that is held out of the training, where there is one.
NAMES = ("test_accuracy", "test_macro_f1", "validation_accuracy", "validation_loss")


def line(name: str, value: float) -> str:
    """Return the line of the log that tells a metric."""
    return f"{name}={value:.4f};"


def definitions() -> list[dict[str, str]]:
    """Return the ``MetricDefinitions`` of a training job."""
    return [{"Name": name, "Regex": rf"\b{name}=([0-9.]+);"} for name in NAMES]
