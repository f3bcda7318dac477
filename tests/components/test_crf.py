from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from rasa.engine.graph import ExecutionContext, GraphSchema
from rasa.engine.storage.local_model_storage import LocalModelStorage
from rasa.engine.storage.resource import Resource
from rasa.nlu.constants import TOKENS_NAMES
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.constants import ENTITIES, TEXT
from rasa.shared.nlu.training_data.entities_parser import parse_training_example
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from components.augmentation import Augmenter, Example, entity_runs, entity_tags
from components.component import DamagedModelError
from components.crf import FrenchCRFEntityExtractor
from components.tokenizer import FrenchTokenizer

CONTEXT = ExecutionContext(GraphSchema({}))
EXAMPLES = [
    "qui est [Paul Martin](person) ?",
    "qui est [Anne Le Gall](person) ?",
    "tu connais [Yann Kerviel](person)",
    "c'est qui [Fatou Diop](person) ?",
    "le mail de [Maëlys Kerguelen](person) stp",
    "qui connaît [Java](technology) ?",
    "qui connaît [C++](technology) ?",
    "quelqu'un qui fait du [Python](technology)",
    "un expert [Kubernetes](technology) à [Nantes](agency)",
    "qui fait du [Rust](technology) à [Rennes](agency) ?",
    "bonjour",
    "il fait beau",
    "merci à toi",
    "qui a gagné le match ?",
]


def tokenised(messages: list[Message]) -> list[Message]:
    return FrenchTokenizer(FrenchTokenizer.get_default_config()).process(messages)


def training_data(examples: list[str] | None = None) -> TrainingData:
    messages = [parse_training_example(text, "any") for text in examples or EXAMPLES]
    lookup = {"name": "agency", "elements": ["Nantes", "Rennes", "Lyon"]}
    return TrainingData(tokenised(messages), lookup_tables=[lookup])


def config(**changes: Any) -> dict[str, Any]:
    return {**FrenchCRFEntityExtractor.get_default_config(), **changes}


def trained(folder: Path, **changes: Any) -> tuple[FrenchCRFEntityExtractor, LocalModelStorage]:
    folder.mkdir(exist_ok=True)
    storage = LocalModelStorage(folder)
    component = FrenchCRFEntityExtractor.create(
        config(**changes), storage, Resource("crf"), CONTEXT
    )
    component.train(training_data())
    return component, storage


@pytest.fixture(scope="module")
def crf(tmp_path_factory: pytest.TempPathFactory) -> FrenchCRFEntityExtractor:
    return trained(tmp_path_factory.mktemp("crf"))[0]


def read(crf: FrenchCRFEntityExtractor, text: str) -> list[dict[str, Any]]:
    [message] = crf.process(tokenised([Message({TEXT: text})]))
    entities: list[dict[str, Any]] = message.get(ENTITIES)
    return entities


def found(crf: FrenchCRFEntityExtractor, text: str) -> list[tuple[str, str]]:
    return [(entity["value"], entity["entity"]) for entity in read(crf, text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qui est Zébulon Tartempion ?", [("Zébulon Tartempion", "person")]),
        ("qui est zebulon tartempion", [("zebulon tartempion", "person")]),
        ("qui fait du Zorglub à Lyon ?", [("Zorglub", "technology"), ("Lyon", "agency")]),
        ("il fait beau", []),
    ],
)
def test_names_never_seen_are_found_by_their_context(
    crf: FrenchCRFEntityExtractor, text: str, expected: list[tuple[str, str]]
) -> None:
    assert found(crf, text) == expected


def test_output_is_what_rasa_expects(crf: FrenchCRFEntityExtractor) -> None:
    [entity] = read(crf, "qui est Paul Martin ?")
    assert (entity["start"], entity["end"]) == (8, 19)
    assert entity["extractor"] == "FrenchCRFEntityExtractor"
    assert type(entity["confidence_entity"]) is float
    assert 0.5 < entity["confidence_entity"] <= 1.0
    json.dumps(entity)


def test_what_was_found_before_is_kept(crf: FrenchCRFEntityExtractor) -> None:
    given = {"entity": "other", "start": 0, "end": 3, "value": "qui"}
    [message] = tokenised([Message({TEXT: "qui est Paul Martin ?", ENTITIES: [given]})])
    crf.process([message])
    assert [entity["entity"] for entity in message.get(ENTITIES)] == ["other", "person"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        " ",
        "/WHO_IS",
        '/WHO_IS{"person": "Paul Martin"}',
        "😀",
        "\x00",
        "مرحبا",
        "<b></b>",
    ],
)
def test_odd_texts_and_buttons(crf: FrenchCRFEntityExtractor, text: str | None) -> None:
    [message] = crf.process(tokenised([Message({TEXT: text})]))
    assert message.get(ENTITIES) == []


def test_a_huge_text_and_a_message_without_tokens(crf: FrenchCRFEntityExtractor) -> None:
    assert isinstance(found(crf, "qui est Paul Martin ? " * 5000), list)
    assert isinstance(found(crf, "x" * 100_000), list)
    [message] = crf.process([Message({TEXT: "qui est Paul Martin ?"})])
    assert message.get(ENTITIES) == []


def test_a_fault_is_logged_and_the_others_are_read(
    crf: FrenchCRFEntityExtractor, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Message({TEXT: "qui est Paul ?", TOKENS_NAMES[TEXT]: ["no token"]})
    [good] = tokenised([Message({TEXT: "qui est Paul Martin ?"})])
    crf.process([broken, good])
    assert broken.get(ENTITIES) == []
    assert len(good.get(ENTITIES)) == 1
    assert "could not read a message" in caplog.text


def test_batch_equals_single(crf: FrenchCRFEntityExtractor) -> None:
    texts = ["qui est Paul Martin ?", "", "du Rust à Lyon", "😀"]
    batch = crf.process(tokenised([Message({TEXT: text}) for text in texts]))
    assert [message.get(ENTITIES) for message in batch] == [read(crf, text) for text in texts]


def test_threads_do_not_disturb_each_other(crf: FrenchCRFEntityExtractor) -> None:
    texts = [example.replace("](", " ").replace("[", "") for example in EXAMPLES]
    expected = {text: read(crf, text) for text in texts}
    wrong: list[str] = []

    def work() -> None:
        for _ in range(20):
            wrong.extend(text for text in texts if read(crf, text) != expected[text])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_stored_and_loaded_it_finds_the_same(tmp_path: Path) -> None:
    component, storage = trained(tmp_path)
    loaded = FrenchCRFEntityExtractor.load(config(), storage, Resource("crf"), CONTEXT)
    for text in ("qui est zebulon ?", "du Zorglub à Lyon", "merci"):
        assert read(loaded, text) == read(component, text)
    with storage.read_from(Resource("crf")) as directory:
        assert sorted(path.name for path in directory.iterdir()) == ["crf.bin", "crf.json"]


def test_training_is_reproducible(tmp_path: Path) -> None:
    models = []
    for name in ("one", "two"):
        _, storage = trained(tmp_path / name)
        with storage.read_from(Resource("crf")) as directory:
            models.append((directory / "crf.bin").read_bytes())
    assert models[0] == models[1]
    _, storage = trained(tmp_path / "three", seed=1)
    with storage.read_from(Resource("crf")) as directory:
        assert (directory / "crf.bin").read_bytes() != models[0]


@pytest.mark.parametrize("name", ["crf.bin", "crf.json"])
@pytest.mark.parametrize("damage", ["empty", "cut", "missing", "changed"])
def test_a_damaged_model_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    _, storage = trained(tmp_path, variants=0)
    with storage.write_to(Resource("crf")) as directory:
        path = directory / name
        content = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            half = len(content) // 2
            changed = content[:half] + bytes([content[half] ^ 0x80]) + content[half + 1 :]
            path.write_bytes({"empty": b"", "cut": content[:half], "changed": changed}[damage])
    with pytest.raises(DamagedModelError, match=r"crf\.bin.*Train the model again"):
        FrenchCRFEntityExtractor.load(config(), storage, Resource("crf"), CONTEXT)


def test_another_version_is_refused(tmp_path: Path) -> None:
    _, storage = trained(tmp_path, variants=0)
    with storage.write_to(Resource("crf")) as directory:
        path = directory / "crf.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(DamagedModelError, match="format 99"):
        FrenchCRFEntityExtractor.load(config(), storage, Resource("crf"), CONTEXT)


def test_without_entities_nothing_is_learnt(tmp_path: Path) -> None:
    storage = LocalModelStorage(tmp_path)
    component = FrenchCRFEntityExtractor.create(config(), storage, Resource("crf"), CONTEXT)
    component.train(training_data(["bonjour", "merci"]))
    loaded = FrenchCRFEntityExtractor.load(config(), storage, Resource("crf"), CONTEXT)
    assert found(component, "qui est Paul ?") == found(loaded, "qui est Paul ?") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": 1}, "variants"),
        ({"variants": -1}, "variants"),
        ({"L1_c": "much"}, "L1_c"),
        ({"max_iterations": 0}, "max_iterations"),
    ],
)
def test_wrong_configurations_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigException, match=message):
        FrenchCRFEntityExtractor(config(**changes), None, Resource("crf"))  # type: ignore[arg-type]


def test_variants_keep_their_annotation() -> None:
    example = Example(
        ("le", "mail", "de", "Paul", "Martin", "ou", "Java"),
        ("O", "B-detail", "O", *entity_tags(2, "person"), "O", *entity_tags(1, "technology")),
        (" ", " ", " ", " ", " ", " ", "?"),
    )
    pools = {"person": [("Anne", "Le", "Gall"), ("Yann", "Kerviel")], "technology": [("C++",)]}
    augmenter = Augmenter(pools, seed=3)
    names = set()
    for _ in range(200):
        variant = augmenter.variant(example)
        assert len(variant.words) == len(variant.tags) == len(variant.gaps)
        assert [run[2] for run in entity_runs(variant.tags)] == ["detail", "person", "technology"]
        assert variant.gaps[-1] == "?"
        assert all(variant.words)
        first, last, _ = entity_runs(variant.tags)[1]
        names.add(" ".join(variant.words[first:last]).lower())
    # Names of the examples, recombined and invented ones.
    assert {"paul martin", "yann kerviel"} <= names
    assert len(names) > 50


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_tags_and_runs_agree(length: int) -> None:
    tags = ("O", *entity_tags(length, "person"), *entity_tags(length, "person"), "O")
    assert entity_runs(tags) == [
        (1, 1 + length, "person"),
        (1 + length, 1 + 2 * length, "person"),
    ]
