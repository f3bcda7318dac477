"""The Rasa component: configuration, training and serving of the CamemBERT intent classifier."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from common.errors import UserError
from components.camembert import endpoint
from components.camembert.config import DEFAULTS, validate
from components.camembert.encoder import configured_encoder, require_training_packages
from components.camembert.progress import Progress, work_of
from components.camembert.served_model import STUDENT, ServedModel, read_trained
from components.component import TrainableComponent, rasa_errors, source_fingerprint
from components.intent_classifier import answer, examples_of
from components.remote import Ranking, RemoteClassifier


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class CamembertIntentClassifier(TrainableComponent, IntentClassifier):
    """Intent classifier fine-tuned from CamemBERT, served with ONNX Runtime.

    It reads the raw text, so it needs no tokenizer or featurizer before it. See
    ``docs/components/camembert.md`` for the configuration and the measurements behind it, and
    ``docs/components/sagemaker.md`` for serving it elsewhere.

    Attributes:
        remote: The way to the SageMaker endpoint, with its state and statistics; None without one.
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

        That is the helper modules, and the encoder that is really used, or the model behind the
        SageMaker endpoint: training again is due when one of them changes. Where AWS cannot be
        reached, that is left to the training to say.
        """
        settings = {**DEFAULTS, **config}
        modules = ["components.camembert", "components.typos", "common.text"]
        facts: list[object] = []
        if settings["sagemaker_endpoint"]:
            modules += ["common.aws", "components.remote", "components.remote_aws"]
            with contextlib.suppress(UserError):
                facts += endpoint.find(settings["sagemaker_endpoint"], settings["region"])
        if _is_local(settings):
            with rasa_errors():
                encoder = configured_encoder(settings)
            facts += [encoder.used, encoder.revision]
        return source_fingerprint(*modules, facts=tuple(facts))

    def __init__(
        self, config: dict[str, Any], model_storage: ModelStorage, resource: Resource
    ) -> None:
        """Create an untrained classifier (see parent class)."""
        super().__init__(config, model_storage, resource)
        self._model: ServedModel | None = None
        self.remote: RemoteClassifier | None = None

    def train(self, training_data: TrainingData) -> Resource:
        """Fine-tune the encoder on the intent examples and persist what serving needs.

        With a SageMaker endpoint, check instead that it fits the examples.

        Raises:
            TrainingError: A single intent or too few examples; or the endpoint is not in service,
                or tells other intents apart.
            InvalidConfigException: The encoder is nowhere to be had.
        """
        examples = examples_of(training_data)
        if self.config["sagemaker_endpoint"]:
            with rasa_errors():
                served = endpoint.use_endpoint(
                    self.config["sagemaker_endpoint"], self.config["region"], examples
                )
            with self._model_storage.write_to(self._resource) as folder:
                endpoint.write(folder, served)
        if _is_local(self.config):
            self._train_locally(examples)
        return self._resource

    def _train_locally(self, examples: list[tuple[str, str]]) -> None:
        with rasa_errors():
            require_training_packages()
            encoder = configured_encoder(self.config)
        with Progress(work_of(encoder.path, len(examples), self.config)) as progress:
            progress.stage("loading PyTorch")
            self._train_with(examples, progress)

    def _train_with(self, examples: list[tuple[str, str]], progress: Progress) -> None:
        from components.camembert.build import train_and_write

        start = None
        if self._finetuning:
            with self._model_storage.read_from(self._resource) as folder, self._damage():
                start = read_trained(folder)
        texts = [text for _, text in examples]
        labels = [intent for intent, _ in examples]
        # Aside, so that a training that fails leaves no half of a model behind.
        with rasa_errors(), tempfile.TemporaryDirectory() as scratch:
            train_and_write(texts, labels, self.config, Path(scratch), start, progress)
            with self._model_storage.write_to(self._resource) as folder:
                # With --finetune, it may be there from before.
                (folder / STUDENT).unlink(missing_ok=True)
                for file in Path(scratch).iterdir():
                    shutil.copyfile(file, folder / file.name)

    def _read(self, folder: Path) -> None:
        if _is_local(self.config):
            self._model = ServedModel(folder, self.config["threads"])
        if self.config["sagemaker_endpoint"]:
            self.remote = endpoint.connect_to(endpoint.read(folder), self.config)
            self.remote.fallback = self._rank_locally if self._model else None

    def process(self, messages: list[Message]) -> list[Message]:
        """Set ``intent`` and ``intent_ranking`` on each message; never raises.

        Empty texts, missing texts and ``/INTENT`` messages (which Rasa reads itself) get no
        intent, and cost no run of the network.
        """
        return answer(messages, self.rank, self.config["ranking_length"])

    def rank(self, texts: Sequence[str]) -> list[Ranking]:
        """Return all intents for each text, the best first; empty where there is no telling."""
        return self.remote.rank(texts) if self.remote else self._rank_locally(texts)

    def _rank_locally(self, texts: Sequence[str]) -> list[Ranking]:
        if self._model is None:
            return [[] for _ in texts]
        return self._model.rank(texts, reject_unknown=self.config["unknown_text"] == "reject")


def _is_local(config: Mapping[str, Any]) -> bool:
    """Whether a model is trained and served in this process."""
    return not config["sagemaker_endpoint"] or config["sagemaker_fallback"]
