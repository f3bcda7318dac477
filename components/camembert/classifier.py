"""The Rasa component: intents from a CamemBERT, in this process or behind a SageMaker endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rasa.engine.recipes.default_recipe import DefaultV1Recipe

from common.errors import UserError
from components import remote_aws
from components.camembert import config as settings
from components.camembert import endpoint
from components.camembert.encoder import configured_encoder, require_training_packages
from components.camembert.progress import Progress, work_of
from components.camembert.served_model import ServedModel, read_checkpoint
from components.component import read_record, write_record
from components.intent_classifier import IntentClassifier, Ranker

# To be raised when an older component could not read what this one writes.
_ENDPOINT_VERSION = 1
_ENDPOINT = "sagemaker.json"


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class CamembertIntentClassifier(IntentClassifier):
    """Intent classifier fine-tuned from CamemBERT, served with ONNX Runtime.

    See ``docs/components/camembert.md`` for the configuration and the measurements behind it, and
    ``docs/components/sagemaker.md`` for serving it elsewhere.
    """

    FILES = ("model.onnx", "tokenizer.json", "metadata.json")
    DEFAULTS = settings.DEFAULTS
    RULES = settings.RULES
    SOURCES = ("components.camembert", "components.augmentation", "common.text", "common.aws")

    @staticmethod
    def required_packages() -> list[str]:
        """Packages needed to serve; training needs torch and transformers besides."""
        return ["onnxruntime", "tokenizers"]

    @classmethod
    def check(cls, config: Mapping[str, Any]) -> None:
        """Check values against each other (see parent class)."""
        settings.check(config)

    @classmethod
    def current(cls, config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Read ``sagemaker_fallback``, true or false, as well (see parent class)."""
        present, hints = super().current(config)
        if not isinstance(present.get("sagemaker_fallback"), bool):
            return present, hints
        name = f"components.camembert.{cls.__name__}"
        if present.pop("sagemaker_fallback") and not present.get("fallback"):
            own = settings.DEFAULTS.keys() - remote_aws.DEFAULTS - {"sagemaker_endpoint"}
            present["fallback"] = {"name": name, **{key: present[key] for key in own & {*present}}}
        return present, [
            *hints,
            f"'sagemaker_fallback: true' is now 'fallback: {{name: {name}}}', with its own "
            "configuration inside.",
        ]

    @classmethod
    def facts(cls, config: Mapping[str, Any]) -> list[object]:
        """Return the encoder that is really used, or the model behind the endpoint.

        Where AWS cannot be reached, that is left to the training to say.
        """
        if config["sagemaker_endpoint"]:
            with contextlib.suppress(UserError):
                return [*endpoint.find(config["sagemaker_endpoint"], config["region"])]
            return []
        encoder = configured_encoder(config)
        return [encoder.used, encoder.revision]

    def fit(self, examples: Sequence[tuple[str, str]], folder: Path, before: Path | None) -> None:
        """Fine-tune the encoder; or check that the SageMaker endpoint fits the examples.

        Raises:
            UserError: A single intent, too few examples, or no encoder; or the endpoint is not in
                service, or tells other intents apart.
        """
        if name := self.config["sagemaker_endpoint"]:
            served = endpoint.use_endpoint(name, self.config["region"], examples)
            write_record(folder / _ENDPOINT, served, _ENDPOINT_VERSION)
            return
        require_training_packages()
        encoder = configured_encoder(self.config)
        with Progress(work_of(encoder.path, len(examples), self.config)) as progress:
            progress.stage("loading PyTorch")
            from components.camembert.build import train_and_write

            start = None
            if before:
                with self._damage():
                    start = read_checkpoint(before)
            labels, texts = zip(*examples, strict=True) if examples else ((), ())
            train_and_write(texts, labels, self.config, folder, start, progress)

    def open(self, folder: Path) -> Ranker:
        """Return the network, or the way to the endpoint (see parent class)."""
        if self.config["sagemaker_endpoint"]:
            served = read_record(folder / _ENDPOINT, endpoint.Served, _ENDPOINT_VERSION)
            return endpoint.connect_to(served, self.config)
        reject = self.config["unknown_text"] == "reject"
        return ServedModel(folder, self.config["threads"], reject_unknown=reject)
