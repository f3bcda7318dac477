"""The CamemBERT intent classifier: the shared contract, and what is its own."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from rasa.engine.storage.local_model_storage import LocalModelStorage
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.constants import INTENT

from common.config import ConfigError
from common.errors import UserError
from common.text import fold
from components import offline_encoder as encoder_files
from components.camembert import (
    CamembertIntentClassifier,
    distillation,
    network,
    ngrams,
    served_model,
    training,
)
from components.camembert import encoder as encoders
from components.camembert.config import DEFAULTS, RULES, passes, refits
from components.camembert.onnx_graph import (
    ATTENTION_MASK,
    INPUT_IDS,
    LOGITS,
    build_graph,
    quantise,
)
from components.camembert.served_model import ServedModel, softmax
from components.camembert.tokenization import SentenceTokenizer
from components.camembert.training import contrastive_loss, fine_tune, fit_temperature
from components.component import DamagedModelError, MissingPackageError, TrainingError
from tests.support import ROOT
from tests.support.intent_classifier_contract import (
    EXAMPLES,
    IntentClassifierContract,
    TrainedClassifier,
    classify,
    training_data,
)
from tests.support.tiny_encoder import TRAINING, build_tiny_encoder

TEXTS = [text for texts in EXAMPLES.values() for text in texts]
LABELS = [intent for intent, texts in EXAMPLES.items() for _ in texts]


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_encoder(tmp_path_factory.mktemp("encoder"), TEXTS)


@pytest.fixture(scope="module")
def config(tiny_encoder: Path) -> dict[str, Any]:
    """Settings with which a random network of two layers learns thirty sentences."""
    return {
        **DEFAULTS,
        "encoder": str(tiny_encoder),
        **TRAINING,
    }


@pytest.fixture(scope="module")
def classifier(
    config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> TrainedClassifier:
    return TrainedClassifier.train(
        CamembertIntentClassifier, config, tmp_path_factory.mktemp("model")
    )


class TestContract(IntentClassifierContract):
    """The suite that every intent classifier passes."""


def folder_of(classifier: TrainedClassifier) -> Path:
    with classifier.storage.read_from(classifier.resource) as folder:
        return folder


def decisions(classifier: TrainedClassifier) -> list[str]:
    return [message.get(INTENT)["name"] for message in classify(classifier.load(), *TEXTS)]


def agreement(one: TrainedClassifier, other: TrainedClassifier) -> float:
    return float(np.mean([a == b for a, b in zip(decisions(one), decisions(other), strict=True)]))


# --- Configuration


def test_every_key_has_a_default_and_a_rule() -> None:
    assert set(DEFAULTS) == set(RULES)
    CamembertIntentClassifier.validate_config({})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "'epochs' is 0; it must be null or a whole number of at least 1"),
        ({"epochs": True}, "'epochs' is True"),
        ({"pooling": "max"}, "it must be one of 'mean', 'cls'"),
        ({"precision": "int4"}, "'int8', 'fp32'"),
        ({"learning_rate": "1e-4"}, "it must be a number above 0"),
        ({"offline_encoder": ""}, "null or a text"),
        ({"distill": 0}, "'distill' is 0; it must be null or a whole number of at least 1"),
        ({"epoch": 3}, "Did you mean 'epochs'"),
        ({"freeze_layers": 2, "freeze_embeddings": False}, "needs 'freeze_embeddings: true'"),
        (
            {"validation_share": 0, "patience": None, "calibration": False, "distill": 3},
            "what the student of 'distill' may answer",
        ),
        ({"validation_share": 0}, "Set 'validation_share' above 0"),
    ],
)
def test_bad_configurations_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigException, match=message):
        CamembertIntentClassifier.validate_config(change)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(InvalidConfigException, match=r"'epochs'.*'pooling'"):
        CamembertIntentClassifier.validate_config({"epochs": -1, "pooling": "max"})


# --- Training


def train(config: dict[str, Any], folder: Path, examples: dict[str, list[str]]) -> None:
    TrainedClassifier.train(CamembertIntentClassifier, config, folder, training_data(examples))


def test_a_single_intent_is_refused(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"at least two intents.*WHO_IS"):
        train(config, tmp_path, {"WHO_IS": EXAMPLES["WHO_IS"]})


def test_too_few_examples_are_refused_by_name(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"Too few examples: HOW_ARE_YOU \(1\)"):
        train(config, tmp_path, {"WHO_IS": EXAMPLES["WHO_IS"], "HOW_ARE_YOU": ["ça va"]})


def test_an_encoder_of_another_family_is_refused(
    config: dict[str, Any], tiny_encoder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "gpt"
    other.mkdir()
    for file in tiny_encoder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(TrainingError, match="of the kind 'gpt2'"):
        train({**config, "encoder": str(other)}, tmp_path / "model", EXAMPLES)


@pytest.mark.parametrize("freeze_layers", [0, 1, 2])
def test_frozen_parts_keep_their_weights(
    config: dict[str, Any], tiny_encoder: Path, freeze_layers: int
) -> None:
    from transformers import AutoModel

    settings = {
        **config, "freeze_embeddings": True, "freeze_layers": freeze_layers, "epochs": 1,
    }  # fmt: skip
    encoder = encoders.find_encoder(str(tiny_encoder), "main", None)
    trained = fine_tune(TEXTS, LABELS, encoder, settings)
    pretrained = AutoModel.from_pretrained(tiny_encoder).state_dict()
    word = pretrained["embeddings.word_embeddings.weight"].numpy()
    assert np.array_equal(trained.weights["embeddings.word"], word)
    for layer in range(2):
        before = pretrained[f"encoder.layer.{layer}.output.dense.weight"].numpy().T
        after = trained.weights[f"layer.{layer}.feed_forward.out.weight"]
        assert np.array_equal(before, after) == (layer < freeze_layers)


def test_the_seed_decides(config: dict[str, Any], tiny_encoder: Path) -> None:
    encoder = encoders.find_encoder(str(tiny_encoder), "main", None)
    short = {**config, "epochs": 2, "augmentation": 1}
    first, same, other = (
        fine_tune(TEXTS, LABELS, encoder, {**short, "seed": seed}).weights["head.weight"]
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_a_rare_intent_is_not_drowned(config: dict[str, Any], tmp_path: Path) -> None:
    examples = {**EXAMPLES, "HOW_ARE_YOU": EXAMPLES["HOW_ARE_YOU"][:3]}
    trained = TrainedClassifier.train(
        CamembertIntentClassifier, config, tmp_path, training_data(examples)
    )
    messages = classify(trained.load(), *EXAMPLES["HOW_ARE_YOU"][:3])
    assert [message.get(INTENT)["name"] for message in messages] == ["HOW_ARE_YOU"] * 3


@pytest.mark.parametrize(("pooling", "head"), [("cls", "linear"), ("mean", "linear")])
def test_other_networks_learn_too(
    config: dict[str, Any], tmp_path: Path, pooling: str, head: str
) -> None:
    trained = TrainedClassifier.train(
        CamembertIntentClassifier, {**config, "pooling": pooling, "head": head}, tmp_path
    )
    messages = classify(trained.load(), *TEXTS)
    right = [
        message.get(INTENT)["name"] == label
        for message, label in zip(messages, LABELS, strict=True)
    ]
    assert sum(right) >= 0.8 * len(right)


def copy_of(classifier: TrainedClassifier, folder: Path) -> TrainedClassifier:
    storage = LocalModelStorage.create(folder)
    with storage.write_to(classifier.resource) as target:
        for file in folder_of(classifier).iterdir():
            (target / file.name).write_bytes(file.read_bytes())
    return TrainedClassifier(classifier.kind, classifier.config, storage, classifier.resource)


def finetuned(classifier: TrainedClassifier, folder: Path) -> TrainedClassifier:
    """Take one gentle step further from a copy of a trained model."""
    gentle = {
        **classifier.config, "epochs": 1, "learning_rate": 1e-6, "head_learning_rate": 1e-6,
    }  # fmt: skip
    copied = dataclasses.replace(copy_of(classifier, folder), config=gentle)
    component = copied.load(finetuning=True)
    component.train(training_data(EXAMPLES))
    return copied


def test_finetuning_goes_on_from_the_served_model(
    classifier: TrainedClassifier, tmp_path: Path
) -> None:
    """One step from a trained model keeps what it knows; one step from nothing knows little."""
    assert agreement(classifier, finetuned(classifier, tmp_path)) >= 0.95


def test_finetuning_another_network_is_refused(
    classifier: TrainedClassifier, config: dict[str, Any]
) -> None:
    component = classifier.load(finetuning=True, pooling="cls")
    with pytest.raises(TrainingError, match="without --finetune"):
        component.train(training_data(EXAMPLES))


# --- The student


@pytest.fixture(scope="module")
def student(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> TrainedClassifier:
    return TrainedClassifier.train(
        CamembertIntentClassifier, {**config, "distill": 1}, tmp_path_factory.mktemp("student")
    )


def test_a_student_answers_first_and_like_its_teacher(
    classifier: TrainedClassifier, student: TrainedClassifier
) -> None:
    metadata = served_model.read_metadata(folder_of(student))
    assert metadata.architecture.layers == 2
    assert metadata.student is not None
    assert metadata.student.architecture.layers == 1
    assert agreement(classifier, student) >= 0.95


def test_the_teacher_answers_where_the_student_is_not_sure(student: TrainedClassifier) -> None:
    model = ServedModel(folder_of(student))

    def with_threshold(threshold: float) -> np.ndarray:
        rule = dataclasses.replace(model.metadata.student, threshold=threshold)
        model.metadata = dataclasses.replace(model.metadata, student=rule)
        return model.network_logits(TEXTS)

    alone, never = with_threshold(0.0), with_threshold(2.0)
    assert not np.allclose(alone, never)
    confidence = softmax(alone).max(1)
    some = with_threshold(float(np.median(confidence)))
    sure = confidence >= np.median(confidence)
    assert np.allclose(some[sure], alone[sure], atol=1e-5)
    assert np.allclose(some[~sure], never[~sure], atol=1e-5)


def test_a_student_learns_from_its_teacher(
    config: dict[str, Any], tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some layers of the teacher alone make no student."""
    encoder = encoders.find_encoder(str(tiny_encoder), "main", None)
    settings = {**config, "calibration": False, "epochs": 10, "distill": 1}
    teacher = fine_tune(TEXTS, LABELS, encoder, settings)

    def distance() -> float:
        student = distillation.distil(teacher, TEXTS, LABELS, encoder, settings)
        tokens = tokenizer.pad(tokenizer.ids(TEXTS))
        feed = {INPUT_IDS: tokens.ids, ATTENTION_MASK: tokens.mask}
        ours, theirs = (
            onnxruntime.InferenceSession(
                build_graph(weights, architecture).SerializeToString()
            ).run([LOGITS], feed)[0]
            for weights, architecture in (
                (student.weights, student.metadata.architecture),
                (teacher.weights, teacher.architecture),
            )
        )
        return float(np.abs(ours - theirs).mean())

    tokenizer = SentenceTokenizer(tiny_encoder / "tokenizer.json", 64, "", teacher.pad_id)
    taught = distance()
    monkeypatch.setattr(distillation, "_PACE", 0.0)
    assert taught < 0.7 * distance()


def test_a_student_answers_where_it_is_reliable() -> None:
    confidence = np.linspace(1, 0.4, 400)
    # Two wrong answers of 400 are allowed, the third is not.
    wrong = confidence < 0.7
    wrong[[10, 20]] = True
    threshold = distillation.acceptance_threshold(confidence, ~wrong)
    answered = confidence >= threshold
    assert wrong[answered].sum() == 2
    assert answered.sum() == (~wrong).sum() + 2
    assert distillation.acceptance_threshold(np.array([0.9, 0.8]), np.array([False, True])) > 1


def test_a_student_of_all_layers_is_refused(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="'distill' is 2, but the encoder has 2 layers"):
        train({**config, "epochs": 1, "distill": 2}, tmp_path, EXAMPLES)


def test_finetuning_teaches_the_student_again(student: TrainedClassifier, tmp_path: Path) -> None:
    resumed = finetuned(student, tmp_path)
    before, after = ((folder_of(item) / "student.onnx").read_bytes() for item in (student, resumed))
    assert before != after
    assert agreement(student, resumed) >= 0.9


def test_a_student_that_is_damaged_is_refused_by_name(
    student: TrainedClassifier, tmp_path: Path
) -> None:
    damaged = copy_of(student, tmp_path)
    (folder_of(damaged) / "student.onnx").unlink()
    with pytest.raises(DamagedModelError, match=r"student\.onnx"):
        damaged.load()


def test_what_was_trained_is_put_back_as_it_was(config: dict[str, Any], tiny_encoder: Path) -> None:
    encoder = encoders.find_encoder(str(tiny_encoder), "main", None)
    settings = {**config, "epochs": 1, "freeze_embeddings": True, "freeze_layers": 1}
    trained = fine_tune(TEXTS, LABELS, encoder, settings)
    assert not any("embeddings" in name or "layer.0." in name for name in trained.trained)
    restored = network.Network(network.load_encoder(encoder), settings, len(trained.labels))
    network.restore(restored, trained.checkpoint)
    weights = network.export(restored, trained.temperature)
    assert weights.keys() == trained.weights.keys()
    for name, expected in trained.weights.items():
        assert np.allclose(weights[name], expected, atol=1e-5), name


# --- Calibration


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(2000, 3)) * 2
    targets = np.array([rng.choice(3, p=row) for row in softmax(honest)])
    assert fit_temperature(honest * 4, targets) == pytest.approx(4, rel=0.15)
    assert fit_temperature(honest, targets) == pytest.approx(1, rel=0.15)


def test_a_faultless_held_out_share_does_not_ask_for_certainty() -> None:
    logits = np.eye(3)[[0, 1, 2] * 4] * 5
    confidence = softmax(logits / fit_temperature(logits, logits.argmax(1))).max()
    assert 0.9 < confidence < 0.999


@pytest.mark.parametrize(
    ("kind", "ratio"), [("balanced", 16.0), ("smoothed", 4.0)], ids=["balanced", "smoothed"]
)
def test_class_weights_favour_the_rare_class_and_are_1_on_average(kind: str, ratio: float) -> None:
    import torch

    sentences = [training.Sentence([], 0)] * 160 + [training.Sentence([], 1)] * 10
    weights = training._class_weights(sentences, {"class_weights": kind}, torch.zeros(1))
    assert weights is not None
    assert float(weights[1] / weights[0]) == pytest.approx(ratio)
    assert float(weights[0] * 160 + weights[1] * 10) == pytest.approx(170)


def test_the_contrastive_loss_is_small_where_classes_keep_together() -> None:
    import torch

    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    together = contrastive_loss(vectors, torch.tensor([0, 0, 1, 1]))
    mixed = contrastive_loss(vectors, torch.tensor([0, 1, 0, 1]))
    assert 0 < together < 0.01 < 5 < mixed
    # Sentences that are alone in their class have nothing to be drawn to.
    assert contrastive_loss(vectors, torch.tensor([0, 1, 2, 3])) == 0


def test_refitting_learns_from_the_held_out_share_as_well(
    config: dict[str, Any], tiny_encoder: Path
) -> None:
    encoder = encoders.find_encoder(str(tiny_encoder), "main", None)
    settings = {**config, "epochs": 1, "validation_share": 0.2}
    once = fine_tune(TEXTS, LABELS, encoder, {**settings, "refit": False})
    refitted = fine_tune(TEXTS, LABELS, encoder, {**settings, "refit": True})
    # The figures are those of the model that had not seen the held-out share.
    assert refitted.validation == once.validation
    assert refitted.temperature == once.temperature
    assert not np.allclose(refitted.weights["head.weight"], once.weights["head.weight"])


# --- Serving


def test_the_graph_computes_what_transformers_computes(
    config: dict[str, Any], tiny_encoder: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModel

    settings = {**config, "precision": "fp32", "epochs": 1, "calibration": False}
    settings["ngram_weight"] = 0
    trained = TrainedClassifier.train(CamembertIntentClassifier, settings, tmp_path)
    model = ServedModel(folder_of(trained))
    weights = {
        item.name: onnx.numpy_helper.to_array(item)
        for item in onnx.load(folder_of(trained) / "model.onnx").graph.initializer
    }
    tokens = model._tokenizer.pad(model._tokenizer.ids(TEXTS))

    network = AutoModel.from_pretrained(tiny_encoder, add_pooling_layer=False).eval()
    state = network.state_dict()
    for layer in range(2):
        theirs, ours = f"encoder.layer.{layer}", f"layer.{layer}"
        for kind in ("weight", "bias"):
            parts = np.split(weights[f"{ours}.attention.qkv.{kind}"], 3, axis=-1)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                state[f"{theirs}.attention.self.{name}.{kind}"] = torch.tensor(part.T)
            for their_name, our_name in (
                ("attention.output.dense", "attention.output"),
                ("attention.output.LayerNorm", "attention.norm"),
                ("intermediate.dense", "feed_forward.in"),
                ("output.dense", "feed_forward.out"),
                ("output.LayerNorm", "feed_forward.norm"),
            ):
                state[f"{theirs}.{their_name}.{kind}"] = torch.tensor(
                    weights[f"{ours}.{our_name}.{kind}"].T
                )
    state["embeddings.word_embeddings.weight"] = torch.tensor(weights["embeddings.word"])
    state["embeddings.position_embeddings.weight"] = torch.tensor(weights["embeddings.position"])
    state["embeddings.token_type_embeddings.weight"].zero_()
    state["embeddings.LayerNorm.weight"] = torch.tensor(weights["embeddings.norm.weight"])
    state["embeddings.LayerNorm.bias"] = torch.tensor(weights["embeddings.norm.bias"])
    network.load_state_dict(state)
    with torch.inference_mode():
        mask = torch.tensor(tokens.mask)
        hidden = network(torch.tensor(tokens.ids), attention_mask=mask).last_hidden_state
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        pooled = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    expected = softmax(pooled @ weights["head.weight"] + weights["head.bias"])
    assert np.allclose(model.predict(TEXTS).probabilities, expected, atol=1e-4)


def test_int8_is_served_and_smaller(
    classifier: TrainedClassifier, config: dict[str, Any], tmp_path: Path
) -> None:
    full = TrainedClassifier.train(
        CamembertIntentClassifier, {**config, "precision": "fp32"}, tmp_path
    )
    assert served_model.read_metadata(folder_of(classifier)).precision == "int8"
    assert served_model.read_metadata(folder_of(full)).precision == "fp32"
    sizes = [(folder_of(item) / "model.onnx").stat().st_size for item in (classifier, full)]
    assert sizes[0] < 0.5 * sizes[1]


def test_an_int8_answer_does_not_depend_on_its_batch(classifier: TrainedClassifier) -> None:
    model = ServedModel(folder_of(classifier))
    alone = np.concatenate([model.logits([text]) for text in TEXTS])
    assert np.allclose(model.logits(TEXTS), alone, atol=1e-4)


def test_an_int8_model_that_disagrees_is_not_kept(
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Quantisation that destroys the network: every weight becomes zero.
    def ruin(graph: Any) -> Any:
        from onnx import numpy_helper

        small = quantise(graph)
        for item in small.graph.initializer:
            if item.name.endswith("_scales"):
                array = numpy_helper.to_array(item)
                item.CopyFrom(numpy_helper.from_array(np.zeros_like(array), item.name))
        return small

    monkeypatch.setattr(served_model, "quantise", ruin)
    with caplog.at_level(logging.WARNING):
        trained = TrainedClassifier.train(CamembertIntentClassifier, config, tmp_path)
    assert served_model.read_metadata(folder_of(trained)).precision == "fp32"
    assert "the fp32 model is kept" in caplog.text


def test_the_archive_holds_only_what_serving_and_finetuning_need(
    classifier: TrainedClassifier,
) -> None:
    files = {file.name for file in folder_of(classifier).iterdir()}
    assert files == {*CamembertIntentClassifier.FILES, "checkpoint.safetensors"}


def test_serving_does_without_what_finetuning_needs(copied: TrainedClassifier) -> None:
    checkpoint = folder_of(copied) / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    component = copied.load(finetuning=True)
    assert classify(component, "qui est Paul")[0].get(INTENT)["name"] == "WHO_IS"
    with pytest.raises(DamagedModelError, match=r"checkpoint\.safetensors.*checksum"):
        component.train(training_data(EXAMPLES))
    checkpoint.unlink()
    with pytest.raises(DamagedModelError, match=r"checkpoint\.safetensors.*missing"):
        copied.load(finetuning=True).train(training_data(EXAMPLES))


def test_a_model_of_the_release_before_is_served_and_not_finetuned(
    copied: TrainedClassifier,
) -> None:
    path = folder_of(copied) / "metadata.json"
    content = json.loads(path.read_text())
    del content["files"]["checkpoint.safetensors"]
    path.write_text(json.dumps({**content, "format": 3}))
    (path.parent / "checkpoint.safetensors").unlink()
    component = copied.load(finetuning=True)
    assert classify(component, "qui est Paul")[0].get(INTENT)["name"] == "WHO_IS"
    with pytest.raises(DamagedModelError, match="of a release before this one"):
        component.train(training_data(EXAMPLES))


def test_serving_imports_neither_torch_nor_transformers(classifier: TrainedClassifier) -> None:
    script = f"""
import sys
from tests.support.intent_classifier_contract import TrainedClassifier, classify, Resource
from rasa.engine.storage.local_model_storage import LocalModelStorage
from components.camembert import CamembertIntentClassifier
from pathlib import Path
trained = TrainedClassifier(
    CamembertIntentClassifier,
    {classifier.config!r},
    LocalModelStorage(Path({str(folder_of(classifier).parent)!r})),
    Resource("classifier"),
)
(message,) = classify(trained.load(), "qui connaît Java")
assert message.get("intent")["name"] == "WHO_KNOWS_ABOUT", message.get("intent")
print(sorted({{"torch", "transformers", "onnx", "huggingface_hub"}} & set(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


def test_all_but_the_component_works_without_rasa() -> None:
    """Other servers train and serve the model too."""
    script = """
import importlib, pkgutil, sys
sys.modules["rasa"] = None
import components.camembert
names = {module.name for module in pkgutil.iter_modules(components.camembert.__path__)}
for name in names - {"classifier"}:
    importlib.import_module(f"components.camembert.{name}")
from components.camembert.config import DEFAULTS, validate
from common.config import ConfigError
validate(DEFAULTS)
try:
    validate({**DEFAULTS, "epochs": 0})
except ConfigError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "'epochs' is 0" in result.stdout


class _Unreachable:
    """A model that must not be asked."""

    def rank(self, texts: list[str]) -> None:
        raise AssertionError(f"The model was run for {texts}")


def test_nothing_runs_for_empty_texts_and_buttons(
    classifier: TrainedClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    component = classifier.load()
    component._ranker = _Unreachable()
    messages = classify(component, "", None, "/WHO_IS", "   ")
    assert not caplog.records
    assert all(message.get(INTENT)["name"] is None for message in messages)


def test_a_failing_model_costs_no_turn(
    classifier: TrainedClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    component = classifier.load()
    component._ranker = _Unreachable()
    (message,) = classify(component, "qui est Paul")
    assert message.get(INTENT) == {"name": None, "confidence": 0.0}
    assert "could not classify 1 message" in caplog.text


def test_unknown_scripts_get_no_intent_unless_asked_for(classifier: TrainedClassifier) -> None:
    (message,) = classify(classifier.load(), "谁知道")
    assert message.get(INTENT)["name"] is None
    (message,) = classify(classifier.load(unknown_text="classify"), "谁知道")
    assert message.get(INTENT)["name"] in EXAMPLES


@pytest.fixture
def copied(classifier: TrainedClassifier, tmp_path: Path) -> TrainedClassifier:
    """A copy of the trained model that a test may damage."""
    return copy_of(classifier, tmp_path)


@pytest.mark.parametrize("name", CamembertIntentClassifier.FILES)
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_model_is_refused_by_name(
    copied: TrainedClassifier, name: str, damage: str
) -> None:
    path = folder_of(copied) / name
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content = content[: len(content) // 2] if damage == "cut" else content
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(content)
    with pytest.raises(DamagedModelError, match=name):
        copied.load()


def test_a_model_of_another_version_is_refused(copied: TrainedClassifier) -> None:
    path = folder_of(copied) / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 0}))
    with pytest.raises(DamagedModelError, match="another version of the component"):
        copied.load()


def test_a_package_that_serving_needs_is_named_where_it_is_missing(
    copied: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match=r"needs the package onnxruntime.*pip install"):
        copied.load()


# --- Character n-grams


def test_the_regression_over_ngrams_is_that_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    names = sorted(set(LABELS))
    asked = ["qui connait jaav", "MERCI", "", "☂", *TEXTS]

    def padded(text: str) -> str:
        return f" {' '.join(fold(text).split())} "

    vectors = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), binary=True, preprocessor=padded)
    reference = LogisticRegression(C=100, class_weight="balanced", max_iter=1000)
    reference.fit(vectors.fit_transform(TEXTS), [names.index(label) for label in LABELS])
    expected = reference.predict_proba(vectors.transform(asked))

    fitted = ngrams.fit(TEXTS, [names.index(label) for label in LABELS])
    (tmp_path / "ngrams.npz").write_bytes(fitted.dump())
    for regression in (fitted, ngrams.read(tmp_path / "ngrams.npz")):
        assert softmax(regression.logits(asked)) == pytest.approx(expected, abs=0.02)


def test_ngrams_have_their_weight_in_the_answer(
    config: dict[str, Any], classifier: TrainedClassifier, tmp_path: Path
) -> None:
    alone = TrainedClassifier.train(
        CamembertIntentClassifier, {**config, "ngram_weight": 0}, tmp_path
    )
    assert not (folder_of(alone) / "ngrams.npz").exists()
    asked = ["qi conait jva", *TEXTS]
    letters = ngrams.read(folder_of(classifier) / "ngrams.npz").logits(asked)
    network_alone = ServedModel(folder_of(alone)).logits(asked)
    mixed = ServedModel(folder_of(classifier)).logits(asked)
    assert mixed == pytest.approx(0.7 * network_alone + 0.3 * letters, abs=1e-4)


# --- What depends on the number of examples, or on the encoder


def test_many_examples_are_passed_fewer_times_and_once() -> None:
    assert [passes(DEFAULTS, count) for count in (20, 1700, 3500, 50_000)] == [8, 8, 4, 3]
    assert [refits(DEFAULTS, count) for count in (20, 1999, 2000)] == [True, True, False]
    assert passes({**DEFAULTS, "epochs": 30}, 3500) == 30
    assert refits({**DEFAULTS, "refit": True}, 3500)
    assert not refits({**DEFAULTS, "validation_share": 0}, 20)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("almanach/camembert-base", ""),
        ("intfloat/multilingual-e5-base", "query: "),
        ("models/encoders/e5-small-fr", "query: "),
        ("acme/base5-fr", ""),
    ],
)
def test_an_encoder_sees_the_prefix_that_it_was_trained_with(name: str, prefix: str) -> None:
    encoder = encoders.Encoder(Path(name), name, name, "main")
    assert encoders.text_prefix(DEFAULTS, encoder) == prefix
    assert encoders.text_prefix({**DEFAULTS, "text_prefix": ""}, encoder) == ""


# --- The encoder


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'\./nowhere' does not exist"):
        encoders.find_encoder("./nowhere", "main", None)


def test_an_incomplete_folder_is_named(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny_encoder / "config.json").read_bytes())
    with pytest.raises(ConfigError, match=r"lacks tokenizer.json, model.safetensors"):
        encoders.find_encoder(str(tmp_path), "main", None)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The model hub as it is without a network: the client's own offline mode, an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    encoders._download.cache_clear()
    encoders._warn.cache_clear()


@pytest.mark.usefixtures("no_hub")
def test_without_the_hub_the_offline_encoder_is_used_with_one_warning(
    tiny_encoder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        found = encoders.find_encoder("almanach/camembert-base", "main", str(tiny_encoder))
    assert found.is_fallback
    assert found.path == tiny_encoder
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(tiny_encoder) in record.message
    assert "bot encoder fetch almanach/camembert-base" in record.message


@pytest.mark.usefixtures("no_hub")
def test_without_hub_and_offline_encoder_the_message_shows_the_way_out() -> None:
    with pytest.raises(ConfigError, match="bot encoder fetch almanach/camembert-base"):
        encoders.find_encoder("almanach/camembert-base", "main", None)
    with pytest.raises(ConfigError, match="bot encoder build"):
        encoders.find_encoder("almanach/camembert-base", "main", "models/encoders/missing")


@pytest.mark.usefixtures("no_hub")
def test_a_fetched_encoder_is_used_without_the_hub(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_files, "ENCODERS_FOLDER", tmp_path)
    (tmp_path / "almanach").mkdir()
    (tmp_path / "almanach" / "camembert-base").symlink_to(tiny_encoder)
    found = encoders.find_encoder("almanach/camembert-base", "main", None)
    assert not found.is_fallback
    assert found.path == tmp_path / "almanach" / "camembert-base"


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", ["almanach/camembert-base", encoder_files.OFFLINE_ENCODER])
def test_the_offline_encoder_is_built_where_it_is_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []
    monkeypatch.setattr(encoder_files, "ENCODERS_FOLDER", tmp_path)
    monkeypatch.setattr(
        encoder_files, "build", lambda folder: built.append(build_tiny_encoder(folder, TEXTS))
    )
    found = encoders.find_encoder(name, "main", encoder_files.OFFLINE_ENCODER)
    assert built == [tmp_path / encoder_files.OFFLINE_ENCODER] == [found.path]
    assert found.used == encoder_files.OFFLINE_ENCODER
    assert found.is_fallback == (name != encoder_files.OFFLINE_ENCODER)


@pytest.mark.parametrize(
    ("system", "machine", "way_out"),
    [
        ("linux", "x86_64", r"pip install 'skills-bot\[train\]'"),
        ("darwin", "arm64", r"pip install 'skills-bot\[train\]'"),
        ("darwin", "x86_64", "Train on another machine"),
    ],
)
def test_without_the_training_packages_the_message_names_them(
    system: str, machine: str, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "_TRAINING_PACKAGES", ("numpy", "no_torch", "no_onnx"))
    monkeypatch.setattr(encoder_files, "ENCODERS_FOLDER", tmp_path)
    monkeypatch.setattr(encoders.sys, "platform", system)
    monkeypatch.setattr(encoders.platform, "machine", lambda: machine)
    with pytest.raises(UserError, match=f"needs no_torch, no_onnx, .*{way_out}"):
        encoders.find_encoder(encoder_files.OFFLINE_ENCODER, "main", None)
    assert not list(tmp_path.iterdir())


def test_another_encoder_changes_the_fingerprint(
    config: dict[str, Any], tiny_encoder: Path, tmp_path: Path
) -> None:
    other = build_tiny_encoder(tmp_path, TEXTS, seed=1)
    fingerprints = {
        CamembertIntentClassifier.fingerprint_addon({**config, "encoder": str(folder)})
        for folder in (tiny_encoder, other)
    }
    assert len(fingerprints) == 2
