"""The Rasa component: intents from Amazon Comprehend's custom classification."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rasa.engine.graph import ExecutionContext
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from common.errors import COMMAND, UserError
from components.camembert import CamembertIntentClassifier
from components.component import TrainableComponent, rasa_errors, source_fingerprint
from components.comprehend.config import DEFAULTS, region_of, training_settings, validate
from components.comprehend.documents import MAXIMUM_TEXT_BYTES
from components.comprehend.endpoint import Show, train, use_endpoint
from components.comprehend.service import Comprehend
from components.comprehend.trained import read, write
from components.intent_classifier import answer, examples_of
from components.remote import Ranking, RemoteClassifier
from components.remote_aws import RenewedClient, client_options, connect

logger = logging.getLogger(__name__)

_GONE = (
    f"Look with `{COMMAND} comprehend endpoint status`; "
    f"`{COMMAND} comprehend endpoint start` starts it."
)


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class ComprehendIntentClassifier(TrainableComponent, IntentClassifier):
    """Intent classifier that asks a custom classification endpoint of Amazon Comprehend.

    It reads the raw text, so it needs no tokenizer or featurizer before it. See
    ``docs/components/comprehend.md`` for the configuration.

    Attributes:
        remote: The way to the endpoint, with its state and statistics; None without a model.
    """

    FILES = ("comprehend.json",)

    @staticmethod
    def required_packages() -> list[str]:
        """Packages needed to train and to serve."""
        return ["boto3"]

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """The component's default config (see ``components.comprehend.config``)."""
        return dict(DEFAULTS)

    @classmethod
    def _check(cls, config: dict[str, Any]) -> None:
        validate(config)

    @classmethod
    def fingerprint_addon(cls, config: dict[str, Any]) -> str | None:
        """Digest of what decides the result beside the class source and the configuration.

        That is the helper modules, the fallback's own, and the version that the endpoint answers
        with: training again is due when it is another one. Where AWS cannot be reached, that is
        left to the training to say.
        """
        settings = {**DEFAULTS, **config}
        facts: list[object] = []
        if settings["fallback"] is not None:
            facts.append(CamembertIntentClassifier.fingerprint_addon(settings["fallback"]))
        with contextlib.suppress(UserError):
            service = Comprehend(region_of(settings), attempts=1)
            endpoint = service.endpoint(settings["endpoint"])
            facts.append(endpoint and endpoint.model_arn)
        return source_fingerprint(
            "common.confusion_matrix",
            "common.aws",
            "components.comprehend",
            "components.intent_classifier",
            "components.remote",
            "components.remote_aws",
            facts=tuple(facts),
        )

    def __init__(
        self, config: dict[str, Any], model_storage: ModelStorage, resource: Resource
    ) -> None:
        """Create an untrained classifier (see parent class)."""
        super().__init__(config, model_storage, resource)
        self.remote: RemoteClassifier | None = None
        self._fallback: CamembertIntentClassifier | None = None

    def train(self, training_data: TrainingData) -> Resource:
        """Check that the endpoint fits the training data, or train it; persist what serving needs.

        Raises:
            TrainingError: There is no endpoint for these data, or AWS refuses.
        """
        if self._finetuning:
            logger.info(
                "Comprehend cannot go on from a trained version: with --finetune, it is trained "
                "from the start as ever, on all examples."
            )
        examples = examples_of(training_data)
        with rasa_errors():
            service = Comprehend(region_of(self.config))
            if self.config["train"] is None:
                intents = {intent for intent, _ in examples}
                trained = use_endpoint(service, self.config["endpoint"], intents)
            else:
                settings = training_settings(self.config)
                with _progress() as show:
                    trained = train(service, self.config["endpoint"], examples, settings, show)
        logger.info(
            f"{trained.model_arn} answers at {trained.endpoint_arn}; accuracy "
            f"{trained.metrics['accuracy']:.3f} on {trained.metrics['test_examples']} examples."
        )
        with self._model_storage.write_to(self._resource) as folder:
            write(folder, trained)
        if self.config["fallback"] is not None:
            # One that was read back is fine-tuned.
            fallback = self._fallback or CamembertIntentClassifier(
                self.config["fallback"], self._model_storage, self._fallback_resource()
            )
            fallback.train(training_data)
        return self._resource

    @classmethod
    def load(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        **kwargs: Any,
    ) -> ComprehendIntentClassifier:
        """Load a trained component and its fallback (see parent class)."""
        component = super().load(config, model_storage, resource, execution_context, **kwargs)
        if component.remote and component.config["fallback"] is not None:
            fallback = CamembertIntentClassifier.load(
                component.config["fallback"],
                model_storage,
                component._fallback_resource(),
                execution_context,
            )
            component._fallback = fallback
            component.remote.fallback = fallback.rank
        return component

    def _read(self, folder: Path) -> None:
        trained = read(folder)
        region = trained.endpoint_arn.split(":")[3]
        client = RenewedClient(lambda: Comprehend(region, **client_options(self.config)))

        def ask(texts: Sequence[str]) -> list[Ranking]:
            with client.asking(gone=_GONE) as service:
                return [service.classify(trained.endpoint_arn, text) for text in texts]

        self.remote = connect(
            f"The Comprehend endpoint '{trained.endpoint_arn}'",
            client,
            ask,
            trained.labels,
            self.config,
            max_bytes=MAXIMUM_TEXT_BYTES,
        )

    def _fallback_resource(self) -> Resource:
        """Return the fallback's place: a folder inside our own, so that both are kept together."""
        return Resource(f"{self._resource.name}/fallback")

    def process(self, messages: list[Message]) -> list[Message]:
        """Set ``intent`` and ``intent_ranking`` on each message; never raises.

        Empty texts, missing texts and ``/INTENT`` messages (which Rasa reads itself) get no
        intent, and cost no call.
        """
        return answer(messages, self._rank, self.config["ranking_length"])

    def _rank(self, texts: Sequence[str]) -> list[Ranking]:
        return self.remote.rank(texts) if self.remote else [[] for _ in texts]


@contextlib.contextmanager
def _progress() -> Iterator[Show]:
    """Show what is waited for, and for how long; what is logged meanwhile has lines of its own."""
    with logging_redirect_tqdm(), tqdm(bar_format="Comprehend: {desc} {elapsed}") as bar:
        yield lambda text: bar.set_description_str(text)
