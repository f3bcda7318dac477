"""What Rasa asks of an intent classifier, as one suite that every classifier of ours must pass.

A test module subclasses :class:`IntentClassifierContract` and gives it a ``classifier`` fixture:
a :class:`TrainedClassifier` trained on ``EXAMPLES``.
"""

from __future__ import annotations

import dataclasses
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rasa.engine.graph import ExecutionContext, GraphSchema
from rasa.engine.storage.local_model_storage import LocalModelStorage
from rasa.engine.storage.resource import Resource
from rasa.nlu.classifiers.fallback_classifier import FallbackClassifier
from rasa.shared.nlu.constants import INTENT, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

EXAMPLES: dict[str, list[str]] = {
    "WHO_IS": [
        "qui est Paul Martin",
        "c'est qui Awa Diop",
        "tu connais Linh Nguyen",
        "qui est Yann Le Gall",
        "parle moi de Karim Ben Salah",
        "je cherche le mail de Zofia Nowak",
        "qui est cette Anne van den Berg",
        "le numéro de Hugo d'Ormesson",
        "c'est qui Marie Curie",
        "tu connais Jean Dupont",
    ],
    "WHO_KNOWS_ABOUT": [
        "qui connaît Java",
        "qui s'y connaît en Kubernetes",
        "quelqu'un sait faire du Python",
        "un expert Docker à Nantes",
        "qui maîtrise Angular",
        "il me faut un dev PHP",
        "qui est bon en SQL",
        "tu connais quelqu'un en Kotlin",
        "le référent DevOps",
        "qui peut aider sur Terraform",
    ],
    "HOW_ARE_YOU": [
        "ça va",
        "comment ça va",
        "tu vas bien",
        "comment vas tu",
        "la forme",
        "bonjour ça va",
        "comment allez vous",
        "ça roule",
        "bien ou quoi",
        "salut la forme",
    ],
}

ODD_TEXTS = {
    "huge": "qui connaît Kubernetes " * 5000,
    "one huge word": "a" * 100_000,
    "emoji": "👩‍💻🔥🔥🔥",
    "half an emoji": "qui est \ud83d",
    "control characters": "qui\x00 est\x07 \x1b[31mPaul\x7f",
    "right to left": "من يعرف جافا \u202eavaJ",
    "chinese": "谁知道 Java 吗",
    "sql": "'; DROP TABLE collaborator; --",
    "html": "<script>alert('qui est Paul')</script>",
    "newlines": "qui\r\n\r\nest\tPaul",
    "punctuation": "?!…;:",
    "combining": "e\u0301" * 300,
}


def training_data(examples: dict[str, list[str]]) -> TrainingData:
    """Return ``examples`` (texts by intent) as Rasa training data."""
    return TrainingData(
        [
            Message.build(text=text, intent=intent)
            for intent, texts in examples.items()
            for text in texts
        ]
    )


def execution_context(finetuning: bool = False) -> ExecutionContext:
    """Return the context that Rasa gives a component."""
    return ExecutionContext(GraphSchema({}), node_name="classifier", is_finetuning=finetuning)


@dataclasses.dataclass
class TrainedClassifier:
    """A classifier as ``rasa train`` leaves it in the model storage."""

    kind: type
    config: dict[str, Any]
    storage: LocalModelStorage
    resource: Resource

    @classmethod
    def train(
        cls, kind: type, config: dict[str, Any], folder: Path, data: TrainingData | None = None
    ) -> TrainedClassifier:
        """Create, train and persist a component."""
        storage = LocalModelStorage.create(folder)
        resource = Resource("classifier")
        merged = {**kind.get_default_config(), **config}
        component = kind.create(merged, storage, resource, execution_context())
        component.train(data or training_data(EXAMPLES))
        return cls(kind, merged, storage, resource)

    def load(self, finetuning: bool = False, **config: Any) -> Any:
        """Load the component as a started bot does."""
        return self.kind.load(
            {**self.config, **config}, self.storage, self.resource, execution_context(finetuning)
        )


def classify(component: Any, *texts: str | None) -> list[Message]:
    """Return messages of ``texts`` after ``process``."""
    return component.process([Message({TEXT: text}) for text in texts])


def check_output(message: Message) -> None:
    """Assert that the intent and its ranking have the form that Rasa expects."""
    intent, ranking = message.get(INTENT), message.get("intent_ranking")
    assert {INTENT, "intent_ranking"} <= message.output_properties
    assert set(intent) == {"name", "confidence"}
    assert type(intent["confidence"]) is float
    json.dumps(message.as_dict(only_output_properties=True))  # numpy floats would raise here
    if intent["name"] is None:
        assert intent["confidence"] == 0.0
        assert ranking == []
        return
    assert ranking[0] == intent
    confidences = [item["confidence"] for item in ranking]
    assert all(type(item) is float and 0.0 <= item <= 1.0 for item in confidences)
    assert confidences == sorted(confidences, reverse=True)
    assert math.isclose(sum(confidences), 1.0, abs_tol=1e-6)
    assert len({item["name"] for item in ranking}) == len(ranking)


class IntentClassifierContract:
    """The suite. Subclasses provide the fixture ``classifier``."""

    @pytest.fixture
    def component(self, classifier: TrainedClassifier) -> Any:
        return classifier.load()

    def test_it_learns_the_examples(self, component: Any) -> None:
        pairs = [(text, intent) for intent, texts in EXAMPLES.items() for text in texts]
        messages = classify(component, *(text for text, _ in pairs))
        right = sum(
            message.get(INTENT)["name"] == intent
            for message, (_, intent) in zip(messages, pairs, strict=True)
        )
        assert right >= 0.9 * len(pairs)

    def test_output_has_the_form_that_rasa_expects(self, component: Any) -> None:
        for message in classify(component, "qui est Paul Martin", "qui connaît Java", "ça va ?"):
            check_output(message)
            assert {item["name"] for item in message.get("intent_ranking")} == set(EXAMPLES)

    @pytest.mark.parametrize("text", ["", "   ", "\n", None])
    def test_nothing_to_classify_gets_no_intent(self, component: Any, text: str | None) -> None:
        (message,) = classify(component, text)
        check_output(message)
        assert message.get(INTENT)["name"] is None

    def test_a_message_without_any_text_gets_no_intent(self, component: Any) -> None:
        (message,) = component.process([Message({})])
        assert message.get(INTENT) == {"name": None, "confidence": 0.0}

    @pytest.mark.parametrize("text", ["/WHO_IS", '/WHO_IS{"collaborator_id": "C0001"}', "/restart"])
    def test_button_payloads_are_left_to_rasa(self, component: Any, text: str) -> None:
        (message,) = classify(component, text)
        check_output(message)
        assert message.get(INTENT)["name"] is None

    @pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS.keys())
    def test_odd_texts_do_no_harm(self, component: Any, text: str) -> None:
        odd, usual = classify(component, text, "qui connaît Java")
        check_output(odd)
        check_output(usual)
        assert usual.get(INTENT)["name"] == "WHO_KNOWS_ABOUT"

    def test_a_batch_answers_as_single_messages_do(self, component: Any) -> None:
        texts = [text for texts in EXAMPLES.values() for text in texts]
        batch = classify(component, *texts, "", None, "/WHO_IS")
        singles = [classify(component, text)[0] for text in [*texts, "", None, "/WHO_IS"]]
        for one, other in zip(batch, singles, strict=True):
            assert one.get(INTENT)["name"] == other.get(INTENT)["name"]
            assert one.get(INTENT)["confidence"] == pytest.approx(
                other.get(INTENT)["confidence"], abs=self.batch_tolerance
            )

    # Dynamic int8 quantisation scales by the largest activation of a batch.
    batch_tolerance = 0.05

    def test_an_empty_batch(self, component: Any) -> None:
        assert component.process([]) == []

    def test_threads_get_their_own_answers(self, component: Any) -> None:
        texts = [text for texts in EXAMPLES.values() for text in texts]
        expected = [classify(component, text)[0].get(INTENT) for text in texts]
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda text: classify(component, text)[0].get(INTENT), texts * 4)
            )
        assert answers == expected * 4

    def test_loading_twice_gives_the_same_answers(self, classifier: TrainedClassifier) -> None:
        texts = ["qui est Paul", "qui connaît PHP", "la forme ?"]
        first, second = (
            [message.get("intent_ranking") for message in classify(classifier.load(), *texts)]
            for _ in range(2)
        )
        assert first == second

    def test_a_missing_model_is_handled(
        self, classifier: TrainedClassifier, tmp_path: Path
    ) -> None:
        untrained = dataclasses.replace(classifier, storage=LocalModelStorage.create(tmp_path))
        (message,) = classify(untrained.load(), "qui est Paul")
        check_output(message)
        assert message.get(INTENT)["name"] is None

    def test_the_fallback_classifier_reads_the_output(self, component: Any) -> None:
        fallback = FallbackClassifier({"threshold": 1.0, "ambiguity_threshold": 0.0})
        messages = fallback.process(classify(component, "qui est Paul Martin", "", "asdf"))
        assert [message.get(INTENT)["name"] for message in messages] == ["nlu_fallback"] * 3

    def test_the_ranking_length_is_kept(self, classifier: TrainedClassifier) -> None:
        (message,) = classify(classifier.load(ranking_length=2), "qui est Paul Martin")
        assert len(message.get("intent_ranking")) == 2

    def test_the_fingerprint_is_stable(self, classifier: TrainedClassifier) -> None:
        first = classifier.kind.fingerprint_addon(classifier.config)
        assert first == classifier.kind.fingerprint_addon(classifier.config)
        assert first

    def test_an_unknown_key_is_refused_with_the_nearest_one(
        self, classifier: TrainedClassifier
    ) -> None:
        from rasa.shared.exceptions import InvalidConfigException

        with pytest.raises(InvalidConfigException, match="Did you mean 'ranking_length'"):
            classifier.load(ranking_lenght=3)

    def test_it_is_registered_as_a_trainable_intent_classifier(
        self, classifier: TrainedClassifier
    ) -> None:
        from rasa.engine.recipes.default_recipe import DefaultV1Recipe

        registered = DefaultV1Recipe._from_registry(classifier.kind.__name__)
        assert registered.clazz is classifier.kind
        assert registered.is_trainable
        assert DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER in registered.types
