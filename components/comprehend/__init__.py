"""An intent classifier that asks Amazon Comprehend's custom classification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.comprehend.classifier import ComprehendIntentClassifier

__all__ = ["ComprehendIntentClassifier"]


def __getattr__(name: str) -> Any:
    # On demand, since the class brings Rasa along, which the retraining does not need.
    if name == "ComprehendIntentClassifier":
        from components.comprehend.classifier import ComprehendIntentClassifier

        return ComprehendIntentClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
