"""The Rasa component: intents from Amazon Comprehend's custom classification."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from common.errors import COMMAND, UserError
from components.component import read_record, write_record
from components.comprehend import config as settings
from components.comprehend.documents import MAXIMUM_TEXT_BYTES
from components.comprehend.endpoint import Show, Trained, train, use_endpoint
from components.comprehend.service import Comprehend
from components.intent_classifier import IntentClassifier
from components.remote import Ranking, RemoteClassifier
from components.remote_aws import RenewedClient, client_options, connect

logger = logging.getLogger(__name__)

# To be raised when an older component could not read what this one writes.
_VERSION = 1
_FILE = "comprehend.json"
_GONE = (
    f"Look with `{COMMAND} comprehend endpoint status`; "
    f"`{COMMAND} comprehend endpoint start` starts it."
)


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class ComprehendIntentClassifier(IntentClassifier):
    """Intent classifier that asks a custom classification endpoint of Amazon Comprehend.

    See ``docs/components/comprehend.md`` for the configuration.
    """

    FILES = (_FILE,)
    DEFAULTS = settings.DEFAULTS
    RULES = settings.RULES
    SOURCES = (
        "components.comprehend", "components.remote_aws", "common.aws", "common.confusion_matrix",
    )  # fmt: skip

    @staticmethod
    def required_packages() -> list[str]:
        """Packages needed to train and to serve."""
        return ["boto3"]

    @classmethod
    def check(cls, config: Mapping[str, Any]) -> None:
        """Check ``train`` (see parent class)."""
        settings.check(config)

    @classmethod
    def facts(cls, config: Mapping[str, Any]) -> list[object]:
        """Return the version that the endpoint answers with.

        Where AWS cannot be reached, that is left to the training to say.
        """
        with contextlib.suppress(UserError):
            service = Comprehend(settings.region_of(config), attempts=1)
            endpoint = service.endpoint(config["endpoint"])
            return [endpoint and endpoint.model_arn]
        return []

    def fit(self, examples: Sequence[tuple[str, str]], folder: Path, before: Path | None) -> None:
        """Check that the endpoint fits the examples, or train it.

        Raises:
            UserError: There is no endpoint for these examples, or AWS refuses.
        """
        if before:
            logger.info(
                "Comprehend cannot go on from a trained version: with --finetune, it is trained "
                "from the start as ever, on all examples."
            )
        service, name = Comprehend(settings.region_of(self.config)), self.config["endpoint"]
        if self.config["train"] is None:
            trained = use_endpoint(service, name, {intent for intent, _ in examples})
        else:
            with _progress() as show:
                how = settings.training_settings(self.config)
                trained = train(service, name, examples, how, show)
        logger.info(
            f"{trained.model_arn} answers at {trained.endpoint_arn}; accuracy "
            f"{trained.metrics['accuracy']:.3f} on {trained.metrics['test_examples']} examples."
        )
        write_record(folder / _FILE, trained, _VERSION)

    def open(self, folder: Path) -> RemoteClassifier:
        """Return the way to the endpoint (see parent class)."""
        trained = read_record(folder / _FILE, Trained, _VERSION)
        region = trained.endpoint_arn.split(":")[3]
        client = RenewedClient(lambda: Comprehend(region, **client_options(self.config)))

        def ask(texts: Sequence[str]) -> list[Ranking]:
            with client.asking(gone=_GONE) as service:
                return [service.classify(trained.endpoint_arn, text) for text in texts]

        name = f"The Comprehend endpoint '{trained.endpoint_arn}'"
        return connect(name, client, ask, trained.labels, self.config, max_bytes=MAXIMUM_TEXT_BYTES)


@contextlib.contextmanager
def _progress() -> Iterator[Show]:
    """Show what is waited for, and for how long; what is logged meanwhile has lines of its own."""
    with logging_redirect_tqdm(), tqdm(bar_format="Comprehend: {desc} {elapsed}") as bar:
        yield lambda text: bar.set_description_str(text)
