"""The theme of our intent classifiers: what each of them has, whatever it fits and opens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.nlu.classifiers import LABEL_RANKING_LENGTH
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.constants import INTENT

from common.config import one_of
from components.component import DamagedModelError
from components.intent_classifier import DEFAULTS, RULES, IntentClassifier
from components.remote import DEFAULTS as REMOTE_DEFAULTS
from components.remote import RULES as REMOTE_RULES
from components.remote import Ranking
from tests.support.intent_classifier_contract import (
    EXAMPLES,
    IntentClassifierContract,
    TrainedClassifier,
    check_output,
    classify,
    training_data,
)

KEYWORDS = "rasa.nlu.classifiers.keyword_intent_classifier.KeywordIntentClassifier"
HERE = f"{__name__}.WordsClassifier"


class Words:
    """Ranks intents by the words that a text shares with their examples."""

    def __init__(self, words: dict[str, list[str]], answers: str) -> None:
        self.words, self.answers = words, answers

    def rank(self, texts: Sequence[str]) -> list[Ranking | None]:
        if self.answers == "never":
            return [None] * len(texts)
        if self.answers == "badly":
            raise RuntimeError("no")
        return [self._rank(set(text.lower().split())) for text in texts]

    def _rank(self, words: set[str]) -> Ranking:
        counts = {intent: 0.01 + len(words & {*known}) for intent, known in self.words.items()}
        ranking = sorted(counts.items(), key=lambda item: -item[1])
        return [(intent, count / sum(counts.values())) for intent, count in ranking]


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class WordsClassifier(IntentClassifier):
    """As small as a classifier can be."""

    FILES = ("words.json",)
    DEFAULTS: ClassVar = {"answers": "always"}
    RULES: ClassVar = {"answers": one_of("always", "never", "badly")}

    def fit(self, examples: Sequence[tuple[str, str]], folder: Path, before: Path | None) -> None:
        words = {
            intent: [
                word for one, text in examples if one == intent for word in text.lower().split()
            ]
            for intent in sorted({intent for intent, _ in examples})
        }
        (folder / "words.json").write_text(json.dumps(words), "utf-8")

    def open(self, folder: Path) -> Words:
        return Words(json.loads((folder / "words.json").read_text("utf-8")), self.config["answers"])


def train(folder: Path, **config: Any) -> TrainedClassifier:
    folder.mkdir(exist_ok=True)
    return TrainedClassifier.train(WordsClassifier, config, folder)


def intents(component: Any, *texts: str) -> list[str | None]:
    messages = classify(component, *texts)
    for message in messages:
        check_output(message)
    return [message.get(INTENT)["name"] for message in messages]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> TrainedClassifier:
    return train(tmp_path_factory.mktemp("model"))


class TestContract(IntentClassifierContract):
    """The suite that every intent classifier passes."""

    batch_tolerance = 0.0


def test_every_key_has_a_rule() -> None:
    assert set(RULES) == {*DEFAULTS, "epochs"}
    assert set(REMOTE_RULES) == set(REMOTE_DEFAULTS)


def test_the_ranking_is_as_long_as_with_rasas_classifiers() -> None:
    assert DEFAULTS["ranking_length"] == LABEL_RANKING_LENGTH


@pytest.mark.parametrize("answers", ["never", "badly"])
def test_the_fallback_answers_what_is_left_open(tmp_path: Path, answers: str) -> None:
    trained = train(tmp_path, answers=answers, fallback={"name": HERE})
    assert intents(trained.load(), "qui est Paul", "", "/WHO_IS") == ["WHO_IS", None, None]
    (message,) = classify(trained.load(ranking_length=2), "qui est Paul")
    assert len(message.get("intent_ranking")) == 2


def test_a_fallback_that_fails_costs_no_turn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing = {"name": HERE, "answers": "badly"}
    assert intents(train(tmp_path, answers="never", fallback=failing).load(), "ça va") == [None]
    assert "could not classify 1 message" in caplog.text


def test_the_fallback_has_no_say_where_there_is_an_answer(tmp_path: Path) -> None:
    component = train(tmp_path, fallback={"name": KEYWORDS}).load()
    # The example is « qui maîtrise Angular », which the other knows only as a whole.
    assert intents(component, "Angular") == ["WHO_KNOWS_ABOUT"]


def test_any_classifier_of_rasa_may_be_the_fallback(tmp_path: Path) -> None:
    component = train(tmp_path, answers="never", fallback={"name": KEYWORDS}).load()
    whole, none = classify(component, EXAMPLES["WHO_IS"][0], "Angular")
    assert whole.get(INTENT)["name"] == "WHO_IS"
    assert none.get(INTENT)["name"] is None


def test_the_fallback_has_a_fallback(tmp_path: Path) -> None:
    inner = {"name": HERE, "answers": "never", "fallback": {"name": HERE}}
    component = train(tmp_path, answers="never", fallback=inner).load()
    assert intents(component, "qui est Paul") == ["WHO_IS"]


@pytest.mark.parametrize(
    ("fallback", "message"),
    [
        ("WordsClassifier", "must be null or a mapping with the 'name'"),
        ({"name": "nowhere.Classifier"}, "'nowhere.Classifier', which cannot be imported"),
        ({"name": "components.crf.FrenchCRF"}, "which cannot be imported"),
        ({"name": "components.tokenizer.FrenchTokenizer"}, "which is no intent classifier"),
        ({"name": HERE, "answer": "never"}, "WordsClassifier.*Did you mean 'answers'"),
    ],
)
def test_bad_fallbacks_are_refused(fallback: Any, message: str) -> None:
    with pytest.raises(InvalidConfigException, match=message):
        WordsClassifier.validate_config({"fallback": fallback})


def test_a_fallback_without_a_name_is_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidConfigException, match=r"CamembertIntentClassifier.*'epochs' is 0"):
        WordsClassifier.validate_config({"fallback": {"epochs": 0}})
    assert WordsClassifier.complete({"fallback": {}})["fallback"] == {
        "name": "components.camembert.CamembertIntentClassifier"
    }


def test_the_fingerprint_follows_the_fallback() -> None:
    addon = WordsClassifier.fingerprint_addon
    assert (
        len(
            {
                addon({}),
                addon({"fallback": {"name": HERE}}),
                addon({"fallback": {"name": KEYWORDS}}),
            }
        )
        == 3
    )


def test_a_training_that_fails_leaves_the_model_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = train(tmp_path)
    component = trained.load()

    def fail(self: Any, examples: Any, folder: Path, before: Any) -> None:
        (folder / "words.json").write_text("half")
        raise RuntimeError

    monkeypatch.setattr(WordsClassifier, "fit", fail)
    with pytest.raises(RuntimeError):
        train(tmp_path)
    assert intents(trained.load(), "qui est Paul") == ["WHO_IS"]
    assert component.remote is None


def test_finetuning_is_given_the_model_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, seen = train(tmp_path), []
    fit = WordsClassifier.fit

    def note(self: Any, examples: Any, folder: Path, before: Path | None) -> None:
        seen.append(before and sorted(path.name for path in before.iterdir()))
        fit(self, examples, folder, before)

    monkeypatch.setattr(WordsClassifier, "fit", note)
    trained.load(finetuning=True).train(training_data(EXAMPLES))
    trained.load().train(training_data(EXAMPLES))
    assert seen == [["words.json"], None]


def test_damage_is_named(tmp_path: Path) -> None:
    trained = train(tmp_path)
    with trained.storage.read_from(trained.resource) as folder:
        (folder / "words.json").write_text("{")
    with pytest.raises(DamagedModelError, match=r"words\.json.*JSONDecodeError.*rasa train"):
        trained.load()
