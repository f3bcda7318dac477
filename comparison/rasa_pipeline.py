"""Trains and runs a Rasa NLU pipeline by itself: no domain, no dialogue, no archive, no cache.

The components are created, trained and called in the order and in the way of Rasa's default recipe
(``rasa.engine.recipes.default_recipe``), so what is measured is what a bot would get.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rasa.engine.graph import ExecutionContext, GraphSchema
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.local_model_storage import LocalModelStorage
from rasa.engine.storage.resource import Resource
from rasa.shared.nlu.constants import INTENT_RANKING_KEY, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from components.remote import Ranking

# What components call the seed of their random choices.
_SEED_KEYS = ("seed", "random_seed", "random_state")


@dataclasses.dataclass(frozen=True)
class _Part:
    """A component of a pipeline, with all that Rasa would give to its constructors."""

    registered: DefaultV1Recipe.RegisteredComponent
    config: dict[str, Any]
    storage: LocalModelStorage
    resource: Resource
    context: ExecutionContext

    def is_a(self, *types: Any) -> bool:
        return bool(self.registered.types.intersection(types))

    def create(self) -> Any:
        arguments = (self.config, self.storage, self.resource, self.context)
        return self.registered.clazz.create(*arguments)

    def load(self) -> Any:
        """Return the component as the bot has it: loaded, or created if it is not trained."""
        if not self.registered.is_trainable:
            return self.create()
        arguments = (self.config, self.storage, self.resource, self.context)
        return self.registered.clazz.load(*arguments)


class _Models:
    """What model loaders (spaCy's, MITIE's) provide to the components that ask for it."""

    def __init__(self) -> None:
        self._provided: dict[str, Any] = {}

    def provide(self, part: _Part) -> None:
        if part.is_a(DefaultV1Recipe.ComponentType.MODEL_LOADER):
            self._provided[part.registered.clazz.__name__] = part.create().provide()

    def of(self, part: _Part) -> dict[str, Any]:
        source = part.registered.model_from
        return {"model": self._provided[source]} if source else {}


def _parts(
    pipeline: Sequence[Mapping[str, Any]], folder: Path, seed: int | None = None
) -> list[_Part]:
    storage = LocalModelStorage(folder)
    parts = []
    for index, item in enumerate(pipeline):
        registered = DefaultV1Recipe._from_registry(item["name"])
        defaults = registered.clazz.get_default_config()
        given = {key: value for key, value in item.items() if key != "name"}
        # All intents count for the log loss, not the first ten.
        forced: dict[str, Any] = {"ranking_length": 0} if "ranking_length" in defaults else {}
        if seed is not None:
            forced |= {key: seed for key in _SEED_KEYS if key in defaults}
        name = f"{registered.clazz.__name__}{index}"
        context = ExecutionContext(GraphSchema({}), node_name=name)
        config = {**defaults, **forced, **given}
        parts.append(_Part(registered, config, storage, Resource(name), context))
    return parts


def fit(
    pipeline: Sequence[Mapping[str, Any]],
    texts: Sequence[str],
    intents: Sequence[str],
    seed: int,
    folder: Path,
) -> None:
    """Train the components into ``folder``.

    Args:
        pipeline: As in Rasa's ``config.yml``.
        texts: Training sentences.
        intents: The intent of each.
        seed: For components that have a key for it, unless the pipeline sets it.
        folder: An empty folder.

    Raises:
        Exception: Whatever a component raises.
    """
    types = DefaultV1Recipe.ComponentType
    data = TrainingData(
        [Message.build(text, intent) for text, intent in zip(texts, intents, strict=True)]
    )
    models = _Models()
    for part in _parts(pipeline, folder, seed):
        models.provide(part)
        if part.registered.is_trainable:
            part.create().train(data, **models.of(part))
        if part.is_a(types.MESSAGE_TOKENIZER, types.MESSAGE_FEATURIZER):
            data = part.load().process_training_data(data, **models.of(part))


class RasaPipeline:
    """A trained pipeline, ready to answer.

    Args:
        pipeline: What :func:`fit` was given.
        folder: What it has written into.
    """

    def __init__(self, pipeline: Sequence[Mapping[str, Any]], folder: Path) -> None:
        self._steps = []
        models = _Models()
        for part in _parts(pipeline, folder):
            models.provide(part)
            self._steps.append((part.load(), models.of(part)))

    def rank(self, texts: Sequence[str]) -> list[Ranking]:
        """Return the intents of each text with their confidence, best first."""
        messages = [Message({TEXT: text}) for text in texts]
        for component, model in self._steps:
            if hasattr(component, "process"):
                messages = component.process(messages, **model)
        return [
            [(one["name"], float(one["confidence"])) for one in message.get(INTENT_RANKING_KEY, [])]
            for message in messages
        ]
