"""Candidates of a comparison: each kind trains, answers, and is scored; nothing is wired to three
intents."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import UserError
from comparison import candidates, scores
from comparison.settings import Settings, Spec, read
from comparison.splits import Labelled
from comparison.worker import Job, train_and_score
from components.remote import Ranking
from tests.support.tiny_encoder import build_tiny_encoder

INTENTS = ["greet", "off", "who"]
TEXTS = {
    "greet": ["bonjour", "salut", "coucou", "ça va ?", "bonsoir", "hello toi"],
    "off": ["il pleut", "une pizza", "le train", "la météo", "un film", "du café"],
    "who": ["qui est Ana ?", "qui est Léo ?", "c'est qui Bob", "tu connais Eva ?", "et Max, qui",
            "qui est Zoé"],
}  # fmt: skip
EXAMPLES = Labelled(
    [text for intent in INTENTS for text in TEXTS[intent]],
    [intent for intent in INTENTS for _ in TEXTS[intent]],
)
COUNTED = [
    {"name": "WhitespaceTokenizer"},
    {"name": "CountVectorsFeaturizer", "analyzer": "char_wb", "min_ngram": 1, "max_ngram": 3},
    {"name": "LogisticRegressionClassifier"},
]


def spec(kind: str, model: Any, service: str | None = None) -> Spec:
    return Spec(name="one", service=service, **{kind: model}).copy(update={"key": "one"})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_encoder(tmp_path_factory.mktemp("encoder"), EXAMPLES.texts))


def camembert(encoder: str, **settings: Any) -> list[dict[str, Any]]:
    name = "components.camembert.CamembertIntentClassifier"
    # Random weights: int8 would not agree with fp32, so the tests that want it say so.
    common = {"encoder": encoder, "epochs": 1, "threads": 1, "precision": "fp32"}
    return [{"name": name, **common, **settings}]


def accuracy(run: scores.Run) -> float:
    return sum(a == b for a, b in zip(run.expected, run.answered, strict=True)) / len(run.expected)


def test_a_rasa_pipeline_is_trained_and_ranks_every_intent(tmp_path: Path) -> None:
    one = spec("pipeline", COUNTED)
    facts = candidates.fit(one, EXAMPLES, 0, tmp_path)
    assert facts.seconds > 0
    assert facts.model_bytes > 1000
    assert facts.encoder is None
    rankings = candidates.load(one, tmp_path, 1).rank(["bonjour", "qui est Ana ?"])
    assert [ranking[0][0] for ranking in rankings] == ["greet", "who"]
    for ranking in rankings:
        assert sorted(name for name, _ in ranking) == INTENTS
        assert sum(value for _, value in ranking) == pytest.approx(1)


def test_the_seed_reaches_components_that_have_a_key_for_it(tmp_path: Path) -> None:
    from comparison import rasa_pipeline

    pipeline = [*COUNTED, {"name": "DIETClassifier", "epochs": 1}]
    parts = rasa_pipeline._parts(pipeline, tmp_path, seed=7)
    assert parts[2].config["random_state"] == 7
    assert parts[3].config["random_seed"] == 7
    assert parts[3].config["ranking_length"] == 0
    fixed = [{"name": "LogisticRegressionClassifier", "random_state": 3}]
    assert rasa_pipeline._parts(fixed, tmp_path, seed=7)[0].config["random_state"] == 3


def test_what_is_kept_answers_as_what_was_scored(encoder: str, tmp_path: Path) -> None:
    one, keep = spec("pipeline", camembert(encoder)), tmp_path / "kept"
    run, facts = train_and_score(Job(one, EXAMPLES, EXAMPLES, 1, INTENTS, "off", 1, keep)).values()
    assert facts.encoder == encoder
    loaded = candidates.load(one, keep, 1)
    again = scores.score(loaded.rank(EXAMPLES.texts), EXAMPLES.intents, INTENTS, "off", 18)
    assert again.answered == run.answered


def test_an_encoder_is_frozen_by_freezing_more_layers_than_it_has(
    encoder: str, tmp_path: Path
) -> None:
    import numpy as np
    import onnx

    weights = []
    last = {"validation_share": 0, "patience": None, "calibration": False}  # the last epoch counts
    for epochs in (1, 4):
        folder = tmp_path / str(epochs)
        folder.mkdir()
        pipeline = camembert(encoder, freeze_layers=99, epochs=epochs, **last)
        candidates.fit(spec("pipeline", pipeline), EXAMPLES, 0, folder)
        (model,) = candidates.served_models(folder)
        stored = onnx.load(model / "model.onnx").graph.initializer
        weights.append({item.name: onnx.numpy_helper.to_array(item) for item in stored})
    for name, before in weights[0].items():
        same = np.array_equal(before, weights[1][name])
        assert same == (not name.startswith("head.weight")), name


def test_a_transformers_pipeline_is_trained_and_answers(encoder: str, tmp_path: Path) -> None:
    settings = {
        "encoder": encoder, "revision": "main", "offline_encoder": None, "epochs": 2,
        "batch_size": 8, "learning_rate": 1e-3, "max_length": 16,
    }  # fmt: skip
    one = spec("transformers", settings)
    facts = candidates.fit(one, EXAMPLES, 0, tmp_path)
    assert facts.encoder == encoder
    classifier = candidates.load(one, tmp_path, 1)
    rankings = classifier.rank(["bonjour", "un texte bien plus long que le maximum " * 20])
    for ranking in rankings:
        assert sorted(name for name, _ in ranking) == INTENTS
        assert [value for _, value in ranking] == sorted((v for _, v in ranking), reverse=True)


def test_sixty_intents_of_ten_thousand_sentences() -> None:
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdeilnorstu", k=6)) for _ in range(600)]
    intents = [f"intent {number:02}" for number in range(60)]
    pairs = [
        (" ".join(generator.choices(words[10 * number : 10 * number + 14], k=5)), intent)
        for number, intent in enumerate(intents)
        for _ in range(170)
    ]
    generator.shuffle(pairs)
    texts, labels = [text for text, _ in pairs], [intent for _, intent in pairs]
    one = spec(
        "pipeline",
        [
            {"name": "WhitespaceTokenizer"},
            {"name": "CountVectorsFeaturizer"},
            {"name": "LogisticRegressionClassifier", "max_iter": 5},
        ],
    )
    cut = 8000
    train, test = Labelled(texts[:cut], labels[:cut]), Labelled(texts[cut:], labels[cut:])
    run = train_and_score(Job(one, train, test, 0, intents, None, 1, None))["run"]
    found = scores.held_out([run], intents, None)
    assert found.accuracy.value > 0.9
    assert len(found.intents) == len(found.confusion.labels) == 60
    assert found.off_topic_auroc is None


class Limited:
    """A service that answers every third question only."""

    def __init__(self) -> None:
        self.asked = 0

    def rank(self, texts: Sequence[str]) -> list[Ranking]:
        assert len(texts) == 1
        self.asked += 1
        return [[("who", 1.0)] if self.asked % 3 == 0 else []]


def test_a_service_is_asked_again_for_what_it_has_not_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(candidates, "_PAUSE", 0.0)
    service = Limited()
    asked = spec("pipeline", COUNTED, service="comprehend")
    assert candidates.rank_all(service, asked, ["a", "b"]) == [[("who", 1.0)]] * 2
    assert service.asked == 6


# --- the configuration ------------------------------------------------------------------------


def read_text(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "compare.yml"
    path.write_text(text, encoding="utf-8")
    return read(path)


def test_the_configuration_of_the_project_says_why_each_candidate_is_there() -> None:
    found = read(Path("compare.yml"))
    assert all(one.why for one in found.candidates.values())
    assert [key for key, one in found.candidates.items() if one.default] == ["camembert-int8"]
    assert (found.splits.folds, found.splits.seeds) == (5, [0, 1, 2])
    assert found.candidates["comprehend"].service == "comprehend"


def test_the_default_is_that_of_the_bot() -> None:
    pipeline = yaml.safe_load(Path("config.yml").read_text(encoding="utf-8"))["pipeline"]
    (default,) = (one for one in read(Path("compare.yml")).candidates.values() if one.default)
    (measured,) = default.model
    (ours,) = (one for one in pipeline if one["name"] == measured["name"])
    shared = {key: value for key, value in ours.items() if key in measured}
    assert measured == shared


def test_an_encoder_goes_to_all_that_fine_tune_one() -> None:
    asked = read(Path("compare.yml")).changed(encoder="some/encoder").candidates
    with_it = {key for key, one in asked.items() if "some/encoder" in json.dumps(one.definition)}
    assert with_it == {
        "camembert-int8", "camembert-student", "camembert-sagemaker", "transformers",
    }  # fmt: skip
    assert asked["transformers"].model["encoder"] == "some/encoder"
    assert asked["camembert-int8"].model[0]["encoder"] == "some/encoder"


def test_a_candidate_is_a_few_lines_and_the_rest_has_defaults(tmp_path: Path) -> None:
    found = read_text(
        tmp_path, "candidates: {x: {name: X, pipeline: [{name: KeywordIntentClassifier}]}}"
    )
    assert found.candidates["x"].model == [{"name": "KeywordIntentClassifier"}]
    assert found.splits.folds == 5
    assert found.material.held_out == "tests/data/heldout.yml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "'candidates' is missing"),
        ("candidates: {}", "there is none"),
        ("candidates: {x: {name: X}}", "exactly one of"),
        (
            "candidates: {x: {name: X, pipeline: []}}",
            r"'pipeline' is \[\]; it must have at least 1 items",
        ),
        ("candidates: {X y: {name: X, transformers: {}}}", "small letters"),
        ("candidates: {x: {name: X, transformers: {epoch: 1}}}", "'epochs'"),
        (
            "candidates: {x: {name: X, service: sagemaker, local_model: y, transformers: {}}}",
            "without service",
        ),
        ("candidates: {x: {name: X, transformers: {}, local_model: x}}", "with a 'service'"),
        ("candidates: {x: {name: X, transformers: {}}}\nsplits: {fold: 3}", "'folds'"),
        (
            "candidates: {x: {name: X, transformers: {}}}\nsplits: {seeds: [1, 1]}",
            "repetitions",
        ),
        ("candidates: {x: {name: X, transformers: {}, service: azure}}", "comprehend"),
    ],
)
def test_what_is_wrong_in_the_configuration_is_named(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_text(tmp_path, text)
