"""The Rasa component: configuration, training and serving of the CamemBERT intent classifier."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.shared.exceptions import RasaException
from rasa.shared.nlu.constants import (
    INTENT,
    INTENT_NAME_KEY,
    INTENT_RANKING_KEY,
    PREDICTED_CONFIDENCE_KEY,
    TEXT,
)
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from components.camembert.config import DEFAULTS, validate
from components.camembert.encoder import find_encoder
from components.camembert.served_model import (
    Metadata,
    ServedModel,
    ServedModelError,
    read_trained,
    write,
)

logger = logging.getLogger(__name__)


class DamagedModelError(RasaException):
    """The trained classifier cannot be loaded; the message names the file and the way out."""


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class CamembertIntentClassifier(IntentClassifier, GraphComponent):
    """Intent classifier fine-tuned from CamemBERT, served with ONNX Runtime.

    It reads the raw text, so it needs no tokenizer or featurizer before it. See
    ``docs/components/camembert.md`` for the configuration and the measurements behind it.
    """

    @staticmethod
    def required_packages() -> list[str]:
        """Packages needed to serve; training needs torch and transformers besides."""
        return ["onnxruntime", "tokenizers"]

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """The component's default config (see ``components.camembert.config``)."""
        return dict(DEFAULTS)

    @classmethod
    def validate_config(cls, config: dict[str, Any]) -> None:
        """Check a configuration; Rasa merges in the defaults, this does so as well.

        Raises:
            InvalidConfigException: With every fault, and what to write instead.
        """
        validate({**DEFAULTS, **config})

    @classmethod
    def fingerprint_addon(cls, config: dict[str, Any]) -> str | None:
        """Digest of what decides the result beside the class source and the configuration.

        That is the helper modules, and the encoder that is really used: training again is due
        when one of them changes.
        """
        settings = {**DEFAULTS, **config}
        encoder = find_encoder(
            settings["encoder"], settings["revision"], settings["offline_encoder"]
        )
        digest = hashlib.sha256(f"{encoder.used}@{encoder.revision}".encode())
        for source in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(source.read_bytes())
        return digest.hexdigest()

    def __init__(
        self,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        model: ServedModel | None = None,
    ) -> None:
        """Construct a classifier; without ``model`` it is not trained yet."""
        self.config = {**self.get_default_config(), **config}
        self.validate_config(self.config)
        self._model_storage = model_storage
        self._resource = resource
        self._model = model
        self._finetuning = False

    @classmethod
    def create(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> CamembertIntentClassifier:
        """Create a new untrained component (see parent class for full docstring)."""
        return cls(config, model_storage, resource)

    def train(self, training_data: TrainingData) -> Resource:
        """Fine-tune the encoder on the intent examples and persist what serving needs.

        Raises:
            TrainingError: A single intent or too few examples.
            InvalidConfigException: The encoder is nowhere to be had.
        """
        from components.camembert.training import fine_tune

        examples = [
            (example.get(TEXT), example.get(INTENT))
            for example in training_data.intent_examples
            if example.get(TEXT) and example.get(INTENT)
        ]
        texts = [text for text, _ in examples]
        labels = [label for _, label in examples]
        encoder = find_encoder(
            self.config["encoder"], self.config["revision"], self.config["offline_encoder"]
        )
        start = None
        if self._finetuning:
            with self._model_storage.read_from(self._resource) as folder:
                start = read_trained(folder)
        trained = fine_tune(texts, labels, encoder, self.config, start)
        metadata = Metadata(
            labels=trained.labels,
            max_length=self.config["max_length"],
            text_prefix=self.config["text_prefix"],
            pad_id=trained.pad_id,
            precision=self.config["precision"],
            temperature=trained.temperature,
            architecture=trained.architecture,
            encoder={
                "name": encoder.name,
                "used": encoder.used,
                "revision": encoder.revision,
            },
            validation=trained.validation,
        )
        with self._model_storage.write_to(self._resource) as folder:
            write(folder, trained, metadata, encoder.path / "tokenizer.json", texts)
        return self._resource

    @classmethod
    def load(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        **kwargs: Any,
    ) -> CamembertIntentClassifier:
        """Load a trained component (see parent class for full docstring).

        Raises:
            DamagedModelError: The files are damaged or of another version of the component.
        """
        try:
            with model_storage.read_from(resource) as folder:
                threads = {**DEFAULTS, **config}["threads"]
                component = cls(config, model_storage, resource, ServedModel(folder, threads))
        except ServedModelError as error:
            raise DamagedModelError(str(error)) from error
        except ValueError:  # Rasa's way to say that the resource does not exist.
            logger.warning(
                f"{cls.__name__} has no trained model ('{resource.name}' is missing): every "
                "message goes without an intent. Train one with `rasa train`."
            )
            component = cls.create(config, model_storage, resource, execution_context)
        component._finetuning = execution_context.is_finetuning and component._model is not None
        return component

    def process(self, messages: list[Message]) -> list[Message]:
        """Set ``intent`` and ``intent_ranking`` on each message; never raises.

        Empty texts, missing texts and ``/INTENT`` messages (which Rasa reads itself) get no
        intent, and cost no run of the network.
        """
        pending = [message for message in messages if _is_question(message.get(TEXT))]
        rankings = self._rank([message.get(TEXT) for message in pending])
        by_message = dict(zip(map(id, pending), rankings, strict=True))
        for message in messages:
            ranking = by_message.get(id(message), [])
            intent = (
                ranking[0] if ranking else {INTENT_NAME_KEY: None, PREDICTED_CONFIDENCE_KEY: 0.0}
            )
            message.set(INTENT, dict(intent), add_to_output=True)
            message.set(INTENT_RANKING_KEY, ranking, add_to_output=True)
        return messages

    def _rank(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """Return the intent ranking of each text; empty where there is no telling."""
        if not texts or self._model is None:
            return [[] for _ in texts]
        try:
            prediction = self._model.predict(texts)
        except Exception:  # A turn that raises leaves the user without any answer.
            logger.exception(f"{type(self).__name__} could not classify {len(texts)} message(s).")
            return [[] for _ in texts]
        length = self.config["ranking_length"] or len(self._model.metadata.labels)
        reject_unknown = self.config["unknown_text"] == "reject"
        rankings: list[list[dict[str, Any]]] = []
        for row, unknown in zip(prediction.probabilities, prediction.unknown, strict=True):
            if unknown and reject_unknown:
                rankings.append([])
                continue
            best = row.argsort()[::-1][:length]
            rankings.append(
                [
                    {
                        INTENT_NAME_KEY: self._model.metadata.labels[index],
                        PREDICTED_CONFIDENCE_KEY: float(row[index]),
                    }
                    for index in best
                ]
            )
        return rankings


def _is_question(text: str | None) -> bool:
    """Whether there is something to classify: not empty, and not a ``/INTENT`` message."""
    return bool(text and text.strip() and not text.startswith("/"))
