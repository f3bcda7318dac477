"""What our intent classifiers have in common; each of them adds how to fit and how to open.

``docs/components/your-own.md`` shows a whole one.
"""

from __future__ import annotations

import abc
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier as RasaIntentClassifier
from rasa.shared.nlu.constants import (
    INTENT,
    INTENT_NAME_KEY,
    INTENT_RANKING_KEY,
    PREDICTED_CONFIDENCE_KEY,
    TEXT,
)
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData
from rasa.shared.utils.common import class_from_module_path

from common.config import ConfigError, Rule, check_config, integer
from components.component import Component, TrainableComponent, rasa_errors, source_fingerprint
from components.remote import Ranking, RemoteClassifier

logger = logging.getLogger(__name__)

# What a fallback without a name was, before any classifier could be one.
_FORMER_FALLBACK = "components.camembert.CamembertIntentClassifier"

DEFAULTS: dict[str, Any] = {
    # Intents in the ranking, as many as with Rasa's own classifiers; 0 for all.
    "ranking_length": 10,
    # Null, or the name and the configuration of an intent classifier that is trained beside and
    # answers what this one leaves unanswered.
    "fallback": None,
}

RULES: dict[str, Rule] = {
    "ranking_length": integer(0),
    "fallback": Rule(
        "null or a mapping with the 'name' of an intent classifier and its configuration",
        lambda value: value is None or isinstance(value, dict),
    ),
    # Without effect where training has none; known to all, so that one changed line of config.yml
    # swaps the classifiers.
    "epochs": integer(1),
}

_Classifier = TypeVar("_Classifier", bound="IntentClassifier")


class Ranker(Protocol):
    """What a trained classifier answers with."""

    def rank(self, texts: Sequence[str]) -> Sequence[Ranking | None]:
        """Return the intents of each text with their confidences (0 to 1), the best first.

        Empty where a text has no intent, None where there is no answer: the fallback is asked then.
        Safe to call from several threads.
        """


class IntentClassifier(TrainableComponent, RasaIntentClassifier, abc.ABC):
    """An intent classifier that reads the raw text.

    Subclasses say what :meth:`fit` learns and how :meth:`open` answers with it.

    Attributes:
        DEFAULTS: The default of each key of the subclass, beside those of this module.
        RULES: A rule for each of these keys.
        SOURCES: Modules and packages whose change means that training is due again, beside the
            module of the class.
    """

    DEFAULTS: ClassVar[Mapping[str, Any]] = {}
    RULES: ClassVar[Mapping[str, Rule]] = {}
    SOURCES: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def fit(self, examples: Sequence[tuple[str, str]], folder: Path, before: Path | None) -> None:
        """Learn the examples, and write into ``folder`` what :meth:`open` needs.

        Args:
            examples: Pairs of intent and text.
            folder: An empty folder.
            before: Folder of the model to go on from (``rasa train --finetune``); else None.

        Raises:
            UserError: It cannot; the message says what to change.
        """

    @abc.abstractmethod
    def open(self, folder: Path) -> Ranker:
        """Return what answers, from what :meth:`fit` has written; ``folder`` is gone afterwards.

        Damage may be raised as it comes, or as a :class:`UserError` with the whole message.
        """

    @classmethod
    def facts(cls, config: Mapping[str, Any]) -> Sequence[object]:
        """Return what decides the result of a training beside sources, data and configuration."""
        return ()

    @classmethod
    def check(cls, config: Mapping[str, Any]) -> None:
        """Check what the rules of single keys cannot; may raise a :class:`ConfigError`."""

    @classmethod
    def current(cls, config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return a configuration in the present keys, and what to write instead of former ones."""
        fallback = config.get("fallback")
        if not isinstance(fallback, dict) or "name" in fallback:
            return dict(config), []
        named = {"name": _FORMER_FALLBACK, **fallback}
        return {**config, "fallback": named}, [
            f"'fallback' may be any classifier now: write 'name: {_FORMER_FALLBACK}' into it."
        ]

    # --- What Rasa calls

    @classmethod
    def get_default_config(cls) -> dict[str, Any]:
        """The component's default config."""
        return {**DEFAULTS, **cls.DEFAULTS}

    @classmethod
    def complete(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration in the present keys, with all defaults."""
        return super().complete(cls.current(config)[0])

    @classmethod
    def _check(cls, config: dict[str, Any]) -> None:
        check_config(cls.__name__, config, {**RULES, **cls.RULES})
        cls.check(config)
        if config["fallback"] is not None:
            kind, settings = _fallback_of(config)
            if issubclass(kind, Component):
                kind.validate_config(settings)

    @classmethod
    def fingerprint_addon(cls, config: dict[str, Any]) -> str | None:
        """Digest of what decides the result beside the class source and the configuration.

        That is the modules behind it, what :meth:`facts` tells, and the same of the fallback.
        """
        settings = cls.complete(config)
        with rasa_errors():
            facts = [*cls.facts(settings)]
            if settings["fallback"] is not None:
                kind, its_own = _fallback_of(settings)
                facts += [kind.__module__, kind.fingerprint_addon(its_own)]
        modules = (__name__, "components.component", "components.remote", cls.__module__)
        return source_fingerprint(*modules, *cls.SOURCES, facts=tuple(facts))

    def __init__(
        self, config: dict[str, Any], model_storage: ModelStorage, resource: Resource
    ) -> None:
        """Create an untrained classifier (see parent class)."""
        for hint in self.current(config)[1]:
            logger.warning(f"{type(self).__name__} in config.yml: {hint}")
        super().__init__(config, model_storage, resource)
        self._ranker: Ranker | None = None
        self._fallback: Any = None

    @property
    def remote(self) -> RemoteClassifier | None:
        """The way to a service, with its state and statistics; None where it asks none."""
        return self._ranker if isinstance(self._ranker, RemoteClassifier) else None

    @classmethod
    def create(
        cls: type[_Classifier],
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> _Classifier:
        """Create an untrained classifier and its fallback (see parent class)."""
        component = super().create(config, model_storage, resource, execution_context)
        if component.config["fallback"] is not None:
            kind, settings = _fallback_of(component.config)
            place = component._fallback_resource()
            component._fallback = kind.create(settings, model_storage, place, execution_context)
        return component

    @classmethod
    def load(
        cls: type[_Classifier],
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        **kwargs: Any,
    ) -> _Classifier:
        """Load a trained classifier and its fallback (see parent class)."""
        component = super().load(config, model_storage, resource, execution_context, **kwargs)
        if component._ranker and component.config["fallback"] is not None:
            kind, settings = _fallback_of(component.config)
            place = component._fallback_resource()
            if not _exists(model_storage, place):  # where it was beside its own files
                place = resource
            component._fallback = kind.load(settings, model_storage, place, execution_context)
            if component.remote:
                component.remote.has_fallback = True
        return component

    def train(self, training_data: TrainingData) -> Resource:
        """Learn the intent examples, and persist what answering needs.

        Raises:
            TrainingError: It cannot; the message says what to change.
        """
        examples = [
            (example.get(INTENT), example.get(TEXT))
            for example in training_data.intent_examples
            if example.get(TEXT) and example.get(INTENT)
        ]
        # Aside, so that a training that fails leaves no half of a model behind.
        with rasa_errors(), tempfile.TemporaryDirectory() as scratch:
            if self._finetuning:
                with self._model_storage.read_from(self._resource) as before:
                    self.fit(examples, Path(scratch), before)
            else:
                self.fit(examples, Path(scratch), None)
            with self._model_storage.write_to(self._resource) as folder:
                for file in [path for path in folder.iterdir() if path.is_file()]:
                    file.unlink()  # with --finetune, it may be there from before
                shutil.copytree(scratch, folder, dirs_exist_ok=True)
        if self._fallback:
            self._fallback.train(training_data)
        return self._resource

    def process(self, messages: list[Message]) -> list[Message]:
        """Set ``intent`` and ``intent_ranking`` on each message; never raises.

        Empty texts, missing texts and ``/INTENT`` messages (which Rasa reads itself) get no
        intent, and are not asked.
        """
        asked = [message for message in messages if _is_question(message.get(TEXT))]
        rankings = dict(zip(map(id, asked), self._rank(asked), strict=True))
        for message in messages:
            self._set_intent(message, rankings.get(id(message)) or [])
        open_ = [message for message in asked if rankings[id(message)] is None]
        if open_ and self._fallback:
            try:
                self._fallback.process(open_)
            except Exception:  # a turn that raises leaves the user without any answer
                logger.exception(f"The fallback could not classify {len(open_)} message(s).")
        return messages

    # --- Behind it

    def _read(self, folder: Path) -> None:
        self._ranker = self.open(folder)

    def _rank(self, messages: Sequence[Message]) -> Sequence[Ranking | None]:
        if self._ranker and messages:
            try:
                return self._ranker.rank([message.get(TEXT) for message in messages])
            except Exception:  # as above
                logger.exception(f"The classifier could not classify {len(messages)} message(s).")
        return [None] * len(messages)

    def _set_intent(self, message: Message, ranking: Ranking) -> None:
        entries = [
            # Rasa's trackers cannot be saved with numpy's floats.
            {INTENT_NAME_KEY: name, PREDICTED_CONFIDENCE_KEY: float(confidence)}
            for name, confidence in ranking[: self.config["ranking_length"] or None]
        ]
        best = entries[0] if entries else {INTENT_NAME_KEY: None, PREDICTED_CONFIDENCE_KEY: 0.0}
        message.set(INTENT, dict(best), add_to_output=True)
        message.set(INTENT_RANKING_KEY, entries, add_to_output=True)

    def _fallback_resource(self) -> Resource:
        """Return the fallback's place: a folder inside our own, so that both are kept together."""
        return Resource(f"{self._resource.name}/fallback")


def _is_question(text: str | None) -> bool:
    """Whether there is something to classify: not empty, and not a ``/INTENT`` message."""
    return bool(text and text.strip() and not text.startswith("/"))


def _exists(storage: ModelStorage, resource: Resource) -> bool:
    try:
        with storage.read_from(resource):
            return True
    except ValueError:  # Rasa's way to say that it does not.
        return False


def _fallback_of(config: Mapping[str, Any]) -> tuple[type[GraphComponent], dict[str, Any]]:
    """Return the class that ``fallback`` names, and its complete configuration.

    Raises:
        ConfigError: There is no such intent classifier.
    """
    settings = dict(config["fallback"])
    name = str(settings.pop("name"))
    try:
        kind = class_from_module_path(name)
    except (ImportError, ValueError, AttributeError) as error:
        reason = f"which cannot be imported: {error}"
        raise ConfigError(f"'fallback' in config.yml names '{name}', {reason}") from None
    if not issubclass(kind, RasaIntentClassifier):
        raise ConfigError(
            f"'fallback' in config.yml names '{name}', which is no intent classifier."
        )
    shared = {"ranking_length": config["ranking_length"]}
    ours = shared if issubclass(kind, IntentClassifier) else {}
    return kind, {**kind.get_default_config(), **ours, **settings}
