"""A CamemBERT intent classifier, fine-tuned with transformers and served with ONNX Runtime."""

from components.camembert.classifier import CamembertIntentClassifier

__all__ = ["CamembertIntentClassifier"]
