"""Where SageMaker puts what a container reads and collects what it writes.

Source: Amazon SageMaker Developer Guide, "How Amazon SageMaker AI Provides Training Information",
"… Processes Training Output" and "Custom Inference Code with Hosting Services".
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Folders:
    """The folders below ``/opt/ml``.

    Attributes:
        base: ``/opt/ml``, or ``SAGEMAKER_BASE_DIR`` as in SageMaker's own toolkits.
    """

    base: Path

    @classmethod
    def from_environment(cls) -> Folders:
        """Return the folders of this container."""
        return cls(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")))

    @property
    def hyperparameters(self) -> Path:
        """The hyper-parameters of the job: a JSON object of strings."""
        return self.base / "input" / "config" / "hyperparameters.json"

    def channel(self, name: str) -> Path:
        """Folder with the files of an input channel."""
        return self.base / "input" / "data" / name

    @property
    def model(self) -> Path:
        """The model: after training it becomes ``model.tar.gz``, for serving it is unpacked."""
        return self.base / "model"

    @property
    def output(self) -> Path:
        """What else training leaves: it becomes ``output.tar.gz``."""
        return self.base / "output" / "data"

    @property
    def failure(self) -> Path:
        """Why training failed; its first 1024 characters become the job's ``FailureReason``."""
        return self.base / "output" / "failure"
