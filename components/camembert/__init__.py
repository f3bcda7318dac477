"""A CamemBERT intent classifier, fine-tuned with transformers and served with ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.camembert.classifier import CamembertIntentClassifier

__all__ = ["CamembertIntentClassifier"]


def __getattr__(name: str) -> Any:
    # On demand, since the class brings Rasa along, which serving alone does not need.
    if name == "CamembertIntentClassifier":
        from components.camembert.classifier import CamembertIntentClassifier

        return CamembertIntentClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
