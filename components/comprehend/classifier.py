"""The Rasa component: intents from Amazon Comprehend's custom classification."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.shared.exceptions import RasaException
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData
from tqdm.auto import tqdm

from bot.errors import UserError
from components.camembert import CamembertIntentClassifier
from components.comprehend.config import DEFAULTS, region_of, training_settings, validate
from components.comprehend.documents import MAXIMUM_TEXT_BYTES
from components.comprehend.service import Comprehend
from components.comprehend.trained import Trained, read, write
from components.comprehend.training import Show, train, use_endpoint
from components.intent_classifier import answer, examples_of
from components.record import DamagedRecordError
from components.remote import Ranking, RemoteClassifier, RemoteSettings
from components.remote_aws import RenewedClient, client_options

logger = logging.getLogger(__name__)

_GONE = "Look with `bot comprehend endpoint status`; `bot comprehend endpoint start` starts it."
# Files beside this package whose change makes another classifier.
_HELPERS = ("aws.py", "intent_classifier.py", "record.py", "remote.py", "remote_aws.py")


class ComprehendTrainingError(RasaException):
    """The classifier cannot be trained; the message says why and what to do."""


class DamagedModelError(RasaException):
    """The trained classifier cannot be loaded; the message names the file and the way out."""


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class ComprehendIntentClassifier(IntentClassifier, GraphComponent):
    """Intent classifier that asks a custom classification endpoint of Amazon Comprehend.

    It reads the raw text, so it needs no tokenizer or featurizer before it. See
    ``docs/components/comprehend.md`` for the configuration.
    """

    @staticmethod
    def required_packages() -> list[str]:
        """Packages needed to train and to serve."""
        return ["boto3"]

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """The component's default config (see ``components.comprehend.config``)."""
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

        That is the helper modules, the fallback's own, and the version that the endpoint answers
        with: training again is due when it is another one. Where AWS cannot be reached, that is
        left to the training to say.
        """
        settings = {**DEFAULTS, **config}
        folder = Path(__file__).parent
        digest = hashlib.sha256()
        for source in [*sorted(folder.glob("*.py")), *(folder.parent / one for one in _HELPERS)]:
            digest.update(source.read_bytes())
        if settings["fallback"] is not None:
            addon = CamembertIntentClassifier.fingerprint_addon(settings["fallback"])
            digest.update(str(addon).encode())
        with contextlib.suppress(UserError):
            service = Comprehend(region_of(settings), attempts=1)
            endpoint = service.endpoint(settings["endpoint"])
            digest.update(str(endpoint and endpoint.model_arn).encode())
        return digest.hexdigest()

    def __init__(
        self,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        trained: Trained | None = None,
        fallback: CamembertIntentClassifier | None = None,
    ) -> None:
        """Construct a classifier; without ``trained`` it is not trained yet."""
        self.config = {**self.get_default_config(), **config}
        self.validate_config(self.config)
        self._model_storage = model_storage
        self._resource = resource
        self._fallback = fallback
        self._finetuning = False
        self.remote = self._connect(trained) if trained else None

    def _connect(self, trained: Trained) -> RemoteClassifier:
        """Return the way to the endpoint; it is not asked for anything yet."""
        region = trained.endpoint_arn.split(":")[3]
        client = RenewedClient(lambda: Comprehend(region, **client_options(self.config)))
        try:
            client.get()  # now, since the first message shall not wait for it
        except UserError as error:
            logger.warning(f"{type(self).__name__}: {error}")

        def ask(texts: Sequence[str]) -> list[Ranking]:
            with client.asking(gone=_GONE) as service:
                return [service.classify(trained.endpoint_arn, text) for text in texts]

        return RemoteClassifier(
            f"The Comprehend endpoint '{trained.endpoint_arn}'",
            ask,
            trained.labels,
            RemoteSettings.of(self.config),
            max_bytes=MAXIMUM_TEXT_BYTES,
            advice=(
                "The local classifier answers meanwhile."
                if self._fallback
                else "Messages go without an intent meanwhile."
            ),
        )

    @classmethod
    def create(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> ComprehendIntentClassifier:
        """Create a new untrained component (see parent class for full docstring)."""
        return cls(config, model_storage, resource)

    def train(self, training_data: TrainingData) -> Resource:
        """Check that the endpoint fits the training data, or train it; persist what serving needs.

        Raises:
            ComprehendTrainingError: There is no endpoint for these data, or AWS refuses.
        """
        if self._finetuning:
            logger.info(
                "Comprehend cannot go on from a trained version: with --finetune, it is trained "
                "from the start as ever, on all examples."
            )
        examples = examples_of(training_data)
        try:
            service = Comprehend(region_of(self.config))
            if self.config["train"] is None:
                intents = {intent for intent, _ in examples}
                trained = use_endpoint(service, self.config["endpoint"], intents)
            else:
                settings = training_settings(self.config)
                with _progress() as show:
                    trained = train(service, self.config["endpoint"], examples, settings, show)
        except UserError as error:
            raise ComprehendTrainingError(str(error)) from error
        logger.info(
            f"{trained.model_arn} answers at {trained.endpoint_arn}; accuracy "
            f"{trained.metrics['accuracy']:.3f} on {trained.metrics['test_examples']} examples."
        )
        with self._model_storage.write_to(self._resource) as folder:
            write(folder, trained)
        if self.config["fallback"] is not None:
            self._new_fallback().train(training_data)
        return self._resource

    def _new_fallback(self) -> CamembertIntentClassifier:
        """Return an untrained local classifier, or that of before where it is to be fine-tuned."""
        if self._fallback is not None:
            return self._fallback
        return CamembertIntentClassifier(
            self.config["fallback"], self._model_storage, _fallback_resource(self._resource)
        )

    @classmethod
    def load(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        **kwargs: Any,
    ) -> ComprehendIntentClassifier:
        """Load a trained component (see parent class for full docstring).

        Raises:
            DamagedModelError: The files are damaged or of another version of the component.
        """
        try:
            with model_storage.read_from(resource) as folder:
                trained = read(folder)
        except DamagedRecordError as error:
            raise DamagedModelError(str(error)) from error
        except ValueError:  # Rasa's way to say that the resource does not exist.
            logger.warning(
                f"{cls.__name__} has no trained model ('{resource.name}' is missing): every "
                "message goes without an intent. Train one with `rasa train`."
            )
            return cls.create(config, model_storage, resource, execution_context)
        fallback = None
        if {**DEFAULTS, **config}["fallback"] is not None:
            fallback = CamembertIntentClassifier.load(
                config["fallback"], model_storage, _fallback_resource(resource), execution_context
            )
        component = cls(config, model_storage, resource, trained, fallback)
        component._finetuning = execution_context.is_finetuning
        return component

    def process(self, messages: list[Message]) -> list[Message]:
        """Set ``intent`` and ``intent_ranking`` on each message; never raises.

        Empty texts, missing texts and ``/INTENT`` messages (which Rasa reads itself) get no
        intent, and cost no call.
        """
        return answer(messages, self._rank, self.config["ranking_length"])

    def _rank(self, texts: Sequence[str]) -> list[Ranking]:
        """Return the ranking of each text, from the endpoint or else from the fallback."""
        if self.remote is None:
            return [[] for _ in texts]
        rankings = self.remote.classify(texts)
        unanswered = [
            text for text, ranking in zip(texts, rankings, strict=True) if ranking is None
        ]
        if unanswered and self._fallback:
            local = iter(self._fallback.rank(unanswered))
            return [next(local) if ranking is None else ranking for ranking in rankings]
        return [ranking or [] for ranking in rankings]


def _fallback_resource(resource: Resource) -> Resource:
    """Return the fallback's place: a folder inside that of ``resource``, so cached with it."""
    return Resource(f"{resource.name}/fallback")


@contextlib.contextmanager
def _progress() -> Iterator[Show]:
    """Show what is waited for, and for how long."""
    with tqdm(bar_format="Comprehend: {desc} {elapsed}") as bar:
        yield lambda text: bar.set_description_str(text)
