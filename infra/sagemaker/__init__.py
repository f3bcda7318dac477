"""The SageMaker container of the CamemBERT intent classifier: ``train`` and ``serve``."""
