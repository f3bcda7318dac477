"""The Rasa component: configuration, training and serving of the CamemBERT intent classifier."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from components.camembert.config import DEFAULTS, validate
from components.camembert.encoder import configured_encoder
from components.camembert.served_model import ServedModel, read_trained
from components.component import TrainableComponent, rasa_errors, source_fingerprint
from components.intent_classifier import answer, examples_of
from components.remote import Ranking


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class CamembertIntentClassifier(TrainableComponent, IntentClassifier):
    """Intent classifier fine-tuned from CamemBERT, served with ONNX Runtime.

    It reads the raw text, so it needs no tokenizer or featurizer before it. See
    ``docs/components/camembert.md`` for the configuration and the measurements behind it.
    """

    FILES = ("model.onnx", "tokenizer.json", "metadata.json")

    @staticmethod
    def required_packages() -> list[str]:
        """Packages needed to serve; training needs torch and transformers besides."""
        return ["onnxruntime", "tokenizers"]

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """The component's default config (see ``components.camembert.config``)."""
        return dict(DEFAULTS)

    @classmethod
    def _check(cls, config: dict[str, Any]) -> None:
        validate(config)

    @classmethod
    def fingerprint_addon(cls, config: dict[str, Any]) -> str | None:
        """Digest of what decides the result beside the class source and the configuration.

        That is the helper modules, and the encoder that is really used: training again is due
        when one of them changes.
        """
        with rasa_errors():
            encoder = configured_encoder({**DEFAULTS, **config})
        return source_fingerprint(
            "components.camembert",
            "components.typos",
            "bot.text",
            facts=(encoder.used, encoder.revision),
        )

    def __init__(
        self, config: dict[str, Any], model_storage: ModelStorage, resource: Resource
    ) -> None:
        """Create an untrained classifier (see parent class)."""
        super().__init__(config, model_storage, resource)
        self._model: ServedModel | None = None

    def train(self, training_data: TrainingData) -> Resource:
        """Fine-tune the encoder on the intent examples and persist what serving needs.

        Raises:
            TrainingError: A single intent or too few examples.
            InvalidConfigException: The encoder is nowhere to be had.
        """
        from components.camembert.build import train_and_write

        examples = examples_of(training_data)
        start = None
        if self._finetuning:
            with self._model_storage.read_from(self._resource) as folder, self._damage():
                start = read_trained(folder)
        texts = [text for _, text in examples]
        labels = [intent for intent, _ in examples]
        # Aside, so that a training that fails leaves no half of a model behind.
        with rasa_errors(), tempfile.TemporaryDirectory() as scratch:
            train_and_write(texts, labels, self.config, Path(scratch), start)
            with self._model_storage.write_to(self._resource) as folder:
                for name in self.FILES:
                    shutil.copyfile(Path(scratch) / name, folder / name)
        return self._resource

    def _read(self, folder: Path) -> None:
        self._model = ServedModel(folder, self.config["threads"])

    def process(self, messages: list[Message]) -> list[Message]:
        """Set ``intent`` and ``intent_ranking`` on each message; never raises.

        Empty texts, missing texts and ``/INTENT`` messages (which Rasa reads itself) get no
        intent, and cost no run of the network.
        """
        return answer(messages, self.rank, self.config["ranking_length"])

    def rank(self, texts: Sequence[str]) -> list[Ranking]:
        """Return all intents for each text, the best first; empty where there is no telling."""
        if self._model is None:
            return [[] for _ in texts]
        prediction = self._model.predict(texts)
        reject_unknown = self.config["unknown_text"] == "reject"
        labels = self._model.metadata.labels
        return [
            []
            if unknown and reject_unknown
            else [(labels[index], float(row[index])) for index in row.argsort()[::-1]]
            for row, unknown in zip(prediction.probabilities, prediction.unknown, strict=True)
        ]
