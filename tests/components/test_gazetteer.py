from __future__ import annotations

import json
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasa.engine.graph import ExecutionContext, GraphSchema
from rasa.engine.storage.local_model_storage import LocalModelStorage
from rasa.engine.storage.resource import Resource
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.constants import ENTITIES, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from components.component import DamagedModelError
from components.gazetteer import GazetteerEntityExtractor
from components.lexicon import Lexicon, typo_budget, word_key

LOOKUPS = {
    "technology": [
        *[
            "C",
            "R",
            "Go",
            "C++",
            "C#",
            ".NET",
            "ASP.NET",
            "Java",
            "JavaScript",
            "Python",
            "Node.js",
        ],
        *["Spring", "Spring Boot", "Kubernetes", "Angular", "CI/CD", "machine learning", "Vue.js"],
        *["Sécurité applicative", "PostgreSQL", "Rust", "Power BI"],
    ],
    "agency": ["Nantes", "Rennes", "Le Mans", "Saint-Étienne"],
    "detail": ["email", "phone", "agency"],
    "reference": ["reference"],
    "rank": ["1", "2"],
    "colour": ["Python"],
}
SYNONYMS = {
    "k8s": "Kubernetes",
    "kube": "Kubernetes",
    "postgres": "PostgreSQL",
    "vue": "Vue.js",
    "dotnet": ".NET",
    "c sharp": "C#",
    "mail": "email",
    "numéro": "phone",
    "lui": "reference",
    "le deuxième": "2",
    "nobody": "Unknown value",
}
CONTEXT = ExecutionContext(GraphSchema({}))


def training_data() -> TrainingData:
    texts = ["Tu connais le prix ? Une vue de la mer", "il faut que je rentre", "Jean Marava"]
    examples = [Message({TEXT: text, "intent": "a"}) for text in texts]
    for entity in LOOKUPS:
        if entity != "colour":
            span = {"start": 0, "end": 4, "value": "xxxx", "entity": entity}
            examples.append(Message({TEXT: "xxxx", ENTITIES: [span], "intent": "a"}))
    return TrainingData(
        examples,
        entity_synonyms=SYNONYMS,
        lookup_tables=[{"name": name, "elements": list(some)} for name, some in LOOKUPS.items()],
    )


def config(**changes: Any) -> dict[str, Any]:
    return {**GazetteerEntityExtractor.get_default_config(), **changes}


@pytest.fixture
def storage(tmp_path: Path) -> LocalModelStorage:
    return LocalModelStorage(tmp_path)


def trained(storage: LocalModelStorage, **changes: Any) -> GazetteerEntityExtractor:
    component = GazetteerEntityExtractor.create(
        config(**changes), storage, Resource("gazetteer"), CONTEXT
    )
    component.train(training_data())
    return component


@pytest.fixture(scope="module")
def gazetteer(tmp_path_factory: pytest.TempPathFactory) -> GazetteerEntityExtractor:
    return trained(LocalModelStorage(tmp_path_factory.mktemp("gazetteer")))


def earlier(text: str, span: str, entity: str) -> dict[str, Any]:
    """An entity as an earlier extractor leaves it."""
    start = text.index(span)
    return {
        "entity": entity,
        "start": start,
        "end": start + len(span),
        "value": span,
        "extractor": "CRFEntityExtractor",
        "confidence_entity": 0.8,
    }


def found(
    gazetteer: GazetteerEntityExtractor, text: str, *before: tuple[str, str]
) -> list[tuple[str, str, str]]:
    """What the component makes of ``text``: span, entity and value."""
    message = Message({TEXT: text, ENTITIES: [earlier(text, *pair) for pair in before]})
    gazetteer.process([message])
    return [
        (text[entity["start"] : entity["end"]], entity["entity"], entity["value"])
        for entity in message.get(ENTITIES)
    ]


@pytest.mark.parametrize(
    ("text", "span", "value"),
    [
        ("Qui fait du C++ ?", "C++", "C++"),
        ("qui fait du c++", "c++", "C++"),
        ("un pro de C#!", "C#", "C#"),
        ("expert .NET stp", ".NET", ".NET"),
        ("expert dotnet", "dotnet", ".NET"),
        ("dev ASP.NET", "ASP.NET", "ASP.NET"),
        ("dev c sharp", "c sharp", "C#"),
        ("en nodejs", "nodejs", "Node.js"),
        ("en Node JS", "Node JS", "Node.js"),
        ("la ci-cd", "ci-cd", "CI/CD"),
        ("du K8S.", "K8S", "Kubernetes"),
        ("spring-boot", "spring-boot", "Spring Boot"),
        ("springboot ?", "springboot", "Spring Boot"),
        ("en Spring", "Spring", "Spring"),
        ("en SECURITE applicative", "SECURITE applicative", "Sécurité applicative"),
        ("s'y connaît en machine-learning", "machine-learning", "machine learning"),
        ("l'Angular", "Angular", "Angular"),
        ("l’angular", "angular", "Angular"),
        ("powerbi", "powerbi", "Power BI"),
        ("Java/Kotlin", "Java", "Java"),
    ],
)
def test_case_accents_signs_and_synonyms(
    gazetteer: GazetteerEntityExtractor, text: str, span: str, value: str
) -> None:
    assert found(gazetteer, text) == [(span, "technology", value)]


@pytest.mark.parametrize(
    "text", ["javanais", "python@exemple.fr", "nantesque", "xC++x", "Javas.NETx"]
)
def test_names_inside_other_words_are_none(gazetteer: GazetteerEntityExtractor, text: str) -> None:
    assert found(gazetteer, f"voir {text} ici") == []


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("en Java 17 ?", "Java 17"),
        ("du python 3.11.", "python 3.11"),
        ("Angular v17", "Angular v17"),
        ("java17", "java17"),
        ("python3.11", "python3.11"),
        ("Java 8+", "Java 8+"),
        ("Java 17.x", "Java 17.x"),
        ("Java 5 ans d'expérience", "Java"),
        ("Java 3 personnes", "Java"),
        ("Java, 17 rue de la Paix", "Java"),
        ("Java depuis 2019", "Java"),
    ],
)
def test_a_version_belongs_to_the_name(
    gazetteer: GazetteerEntityExtractor, text: str, span: str
) -> None:
    [(got, entity, value)] = found(gazetteer, text)
    assert (got, entity) == (span, "technology")
    assert value in LOOKUPS["technology"]


@pytest.mark.parametrize(
    ("text", "span", "value"),
    [
        ("du pyhton", "pyhton", "Python"),
        ("du kubernets", "kubernets", "Kubernetes"),
        ("en angualr ?", "angualr", "Angular"),
        ("sprinboot", "sprinboot", "Spring Boot"),
        ("machine lerning", "machine lerning", "machine learning"),
        ("postgresq", "postgresq", "PostgreSQL"),
    ],
)
def test_small_typos_are_forgiven(
    gazetteer: GazetteerEntityExtractor, text: str, span: str, value: str
) -> None:
    assert found(gazetteer, text) == [(span, "technology", value)]


def test_typos_only_where_the_configuration_allows_them(storage: LocalModelStorage) -> None:
    assert found(trained(storage, fuzzy=["agency"]), "du pyhton à Rennnes") == [
        ("Rennnes", "agency", "Rennes")
    ]


@pytest.mark.parametrize("text", ["marava", "Tu rentre", "jave", "un rast"])
def test_ordinary_words_and_short_words_are_no_typos(
    gazetteer: GazetteerEntityExtractor, text: str
) -> None:
    assert found(gazetteer, text) == []


def test_a_short_typo_counts_where_the_tagger_saw_a_name(
    gazetteer: GazetteerEntityExtractor,
) -> None:
    assert found(gazetteer, "en sprng", ("sprng", "technology")) == [
        ("sprng", "technology", "Spring")
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("il est fort en C ?", ["C"]),
        ("du R et du Go", ["R", "Go"]),
        ("c ki", []),
        ("on y va, go", []),
        ("vitamine C", []),
        ("une belle vue", []),
    ],
)
def test_short_and_everyday_names_need_evidence(
    gazetteer: GazetteerEntityExtractor, text: str, names: list[str]
) -> None:
    assert [value for _, _, value in found(gazetteer, text)] == names


def test_short_and_everyday_names_with_the_word_of_the_tagger(
    gazetteer: GazetteerEntityExtractor,
) -> None:
    assert found(
        gazetteer, "on fait de la vue et du c", ("vue", "technology"), ("c", "technology")
    ) == [
        ("vue", "technology", "Vue.js"),
        ("c", "technology", "C"),
    ]


def test_everyday_words_of_other_entities_need_the_tagger(
    gazetteer: GazetteerEntityExtractor,
) -> None:
    text = "le mail pour lui"
    assert found(gazetteer, text) == []
    assert found(gazetteer, text, ("mail", "detail"), ("lui", "reference")) == [
        ("mail", "detail", "email"),
        ("lui", "reference", "reference"),
    ]
    # Unless the message is nothing else.
    assert found(gazetteer, "Le deuxieme !") == [("Le deuxieme", "rank", "2")]


def test_a_value_from_the_known_part_of_a_longer_span(gazetteer: GazetteerEntityExtractor) -> None:
    text = "son numero de fixe"
    assert found(gazetteer, text, ("numero de fixe", "detail")) == [
        ("numero de fixe", "detail", "phone")
    ]
    assert found(gazetteer, "et Nantes", ("et", "reference"))[0][2] == "reference"


def test_the_longest_span_wins_and_a_tie_goes_to_the_gazetteer(
    gazetteer: GazetteerEntityExtractor,
) -> None:
    assert found(gazetteer, "Spring Boot", ("Boot", "technology")) == [
        ("Spring Boot", "technology", "Spring Boot")
    ]
    assert found(gazetteer, "c'est qui Léa Nantes", ("Léa Nantes", "person")) == [
        ("Léa Nantes", "person", "Léa Nantes")
    ]
    assert found(gazetteer, "Kubernetes", ("Kubernetes", "person")) == [
        ("Kubernetes", "technology", "Kubernetes")
    ]
    assert found(gazetteer, "Python Zorglub", ("Python Zorglub", "technology")) == [
        ("Python Zorglub", "technology", "Python Zorglub")
    ]


def test_a_list_without_commas_is_several_names(gazetteer: GazetteerEntityExtractor) -> None:
    assert found(gazetteer, "java python", ("java python", "technology")) == [
        ("java", "technology", "Java"),
        ("python", "technology", "Python"),
    ]


@pytest.mark.parametrize(
    ("text", "tagged", "entity", "span"),
    [
        ("qui est M. Paul Kerguelen ?", "M. Paul Kerguelen", "person", "Paul Kerguelen"),
        ("qui est Mme Le Gall ?", "Mme Le Gall", "person", "Le Gall"),
        ("qui est d'Ormesson, stp", "d'Ormesson, stp", "person", "d'Ormesson"),
        ("en Zorglub stp", "en Zorglub stp", "technology", "Zorglub"),
        ("à Brest", "à Brest", "agency", "Brest"),
    ],
)
def test_edges_are_cleaned(
    gazetteer: GazetteerEntityExtractor, text: str, tagged: str, entity: str, span: str
) -> None:
    assert found(gazetteer, text, (tagged, entity)) == [(span, entity, span)]


def test_a_pronoun_counts_where_nobody_is_named(gazetteer: GazetteerEntityExtractor) -> None:
    text = "Anne, lui"
    before = [("lui", "reference"), ("Anne", "person")]
    assert [entity for _, entity, _ in found(gazetteer, text, *before)] == ["person"]
    assert [entity for _, entity, _ in found(gazetteer, text, before[0])] == ["reference"]


def test_an_address_is_no_name(gazetteer: GazetteerEntityExtractor) -> None:
    for text in ("https://exemple.fr/promo", "anne@exemple.fr"):
        assert found(gazetteer, text, (text, "technology")) == []


def test_an_entity_of_prepositions_alone_vanishes(gazetteer: GazetteerEntityExtractor) -> None:
    assert found(gazetteer, "c'est en quoi", ("en", "technology")) == []


@pytest.mark.parametrize(
    ("text", "pieces", "names"),
    [
        ("qui est Maëlys Kerguelen ?", ["Maëlys", "Kerguelen"], ["Maëlys Kerguelen"]),
        ("Anne Le Gall", ["Anne", "Gall"], ["Anne Le Gall"]),
        ("Anne de la Tour", ["Anne", "Tour"], ["Anne de la Tour"]),
        ("Paul, Anne", ["Paul", "Anne"], ["Paul", "Anne"]),
        ("Paul et Anne", ["Paul", "Anne"], ["Paul", "Anne"]),
    ],
)
def test_the_pieces_of_a_name_are_joined(
    gazetteer: GazetteerEntityExtractor, text: str, pieces: list[str], names: list[str]
) -> None:
    got = found(gazetteer, text, *[(piece, "person") for piece in pieces])
    assert [span for span, _, _ in got] == names


def test_output_is_what_rasa_expects(gazetteer: GazetteerEntityExtractor) -> None:
    message = Message({TEXT: "du pyhton et du Java à Nantes"})
    gazetteer.process([message])
    entities = message.get(ENTITIES)
    assert [entity["value"] for entity in entities] == ["Python", "Java", "Nantes"]
    for entity in entities:
        assert set(entity) == {
            *["entity", "start", "end", "value", "confidence_entity", "extractor"]
        }
        assert entity["extractor"] == "GazetteerEntityExtractor"
        assert type(entity["confidence_entity"]) is float
        assert 0 < entity["confidence_entity"] <= 1
    assert ENTITIES in message.output_properties
    json.dumps(entities)


def test_a_mapped_value_keeps_the_name_of_its_extractor(
    gazetteer: GazetteerEntityExtractor,
) -> None:
    text = "le mail"
    [entity] = gazetteer.extract(text, [earlier(text, "mail", "detail")])
    assert entity["value"] == "email"
    assert entity["extractor"] in ("CRFEntityExtractor", "GazetteerEntityExtractor")


@pytest.mark.parametrize("text", ["", None, '/WHO_KNOWS_ABOUT{"technology": "Java"}', "/Java"])
def test_buttons_and_empty_texts_are_left_alone(
    gazetteer: GazetteerEntityExtractor, text: str | None
) -> None:
    given = [{"entity": "technology", "start": 0, "end": 5, "value": "x"}]
    message = Message({TEXT: text, ENTITIES: given})
    gazetteer.process([message])
    assert message.get(ENTITIES) == given


ODD_TEXTS = [
    " ",
    "!!! ???",
    "😀 Java 👩‍💻",
    "\x00\x07 Java",
    "مرحبا Java",
    "'; DROP TABLE Java; --",
    "<b>Java</b>",
    "Java " * 20_000,
    "x" * 100_000,
    "l'" * 50_000,
    "Jav\u0301a",
]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_odd_texts(gazetteer: GazetteerEntityExtractor, text: str) -> None:
    message = Message({TEXT: text})
    gazetteer.process([message])
    for entity in message.get(ENTITIES):
        assert 0 <= entity["start"] < entity["end"] <= len(text)


def test_a_fault_is_logged_and_keeps_what_was_there(
    gazetteer: GazetteerEntityExtractor, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [{"entity": "technology"}]
    messages = [Message({TEXT: "du Java", ENTITIES: broken}), Message({TEXT: "du Java"})]
    gazetteer.process(messages)
    assert messages[0].get(ENTITIES) == broken
    assert [entity["value"] for entity in messages[1].get(ENTITIES)] == ["Java"]
    assert "could not read a message" in caplog.text


@given(
    text=st.text(alphabet=st.sampled_from("aeJv nPytho+#.NET-'’/17é\n"), max_size=60),
    spans=st.lists(
        st.tuples(
            st.integers(0, 60),
            st.integers(0, 60),
            st.sampled_from(["person", "technology", "agency", "detail", "other"]),
        ),
        max_size=4,
    ),
)
@settings(max_examples=400, deadline=None)
def test_results_are_ordered_disjoint_and_inside_the_text(
    gazetteer: GazetteerEntityExtractor, text: str, spans: list[tuple[int, int, str]]
) -> None:
    before = [
        {"entity": kind, "start": start, "end": end, "value": text[start:end], "extractor": "x"}
        for start, end, kind in spans
        if start < end <= len(text)
    ]
    entities = gazetteer.extract(text, before)
    assert all(0 <= entity["start"] < entity["end"] <= len(text) for entity in entities)
    for entity, following in pairwise(entities):
        assert entity["end"] <= following["start"]
    # Nothing is found twice: the component on its own result changes nothing.
    again = gazetteer.extract(text, entities)
    assert [(e["start"], e["end"], e["entity"]) for e in again] == [
        (e["start"], e["end"], e["entity"]) for e in entities
    ]


def test_batch_equals_single(gazetteer: GazetteerEntityExtractor) -> None:
    texts = ["du Java à Nantes", "", "k8s", *ODD_TEXTS[:7]]
    batch = [Message({TEXT: text}) for text in texts]
    gazetteer.process(batch)
    for text, message in zip(texts, batch, strict=True):
        alone = Message({TEXT: text})
        gazetteer.process([alone])
        assert alone.get(ENTITIES) == message.get(ENTITIES)


def test_threads_do_not_disturb_each_other(gazetteer: GazetteerEntityExtractor) -> None:
    texts = [f"du {name} à Nantes et du pyhton" for name in LOOKUPS["technology"] if len(name) > 2]
    expected = {text: gazetteer.extract(text) for text in texts}
    wrong: list[str] = []

    def work() -> None:
        for _ in range(20):
            wrong.extend(text for text in texts if gazetteer.extract(text) != expected[text])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_stored_and_loaded_it_finds_the_same(storage: LocalModelStorage) -> None:
    component = trained(storage)
    loaded = GazetteerEntityExtractor.load(config(), storage, Resource("gazetteer"), CONTEXT)
    for text in ("du C++ et pyhton à Nantes", "une vue", "k8s 1.29"):
        assert loaded.extract(text) == component.extract(text)
    with storage.read_from(Resource("gazetteer")) as directory:
        assert [path.name for path in directory.iterdir()] == ["gazetteer.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"format": 99, "lexicon": {"spellings": {}}, "ordinary": []}',
        b'{"format": 1, "lexicon": {}, "ordinary": []}',
        b'{"format": 1, "lexicon": {"spellings": {"a": [1]}}, "ordinary": []}',
    ],
)
def test_a_damaged_file_is_refused_by_name(storage: LocalModelStorage, content: bytes) -> None:
    trained(storage)
    with storage.write_to(Resource("gazetteer")) as directory:
        (directory / "gazetteer.json").write_bytes(content)
    with pytest.raises(DamagedModelError, match=r"gazetteer\.json.*Train the model again"):
        GazetteerEntityExtractor.load(config(), storage, Resource("gazetteer"), CONTEXT)


def test_a_missing_file_is_refused_by_name(storage: LocalModelStorage) -> None:
    with pytest.raises(DamagedModelError, match="gazetteer"):
        GazetteerEntityExtractor.load(config(), storage, Resource("gazetteer"), CONTEXT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fuzy": ["technology"]}, "fuzzy"),
        ({"fuzzy": "technology"}, "fuzzy"),
        ({"min_length": 0}, "min_length"),
        ({"confirm": [1]}, "confirm"),
        ({"stands_for": ["reference"]}, "stands_for"),
        ({"max_characters": "all"}, "max_characters"),
    ],
)
def test_wrong_configurations_are_refused(
    storage: LocalModelStorage, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidConfigException, match=message):
        GazetteerEntityExtractor.create(config(**changes), storage, Resource("x"), CONTEXT)


def test_a_lookup_table_that_does_not_exist_is_refused(storage: LocalModelStorage) -> None:
    with pytest.raises(InvalidConfigException, match=r"'tecnology'.*'technology'"):
        trained(storage, entities=["tecnology"])


def test_only_the_entities_asked_for(storage: LocalModelStorage) -> None:
    assert found(trained(storage, entities=["agency"]), "du Java à Nantes") == [
        ("Nantes", "agency", "Nantes")
    ]


def test_an_empty_training_set_finds_nothing(storage: LocalModelStorage) -> None:
    component = GazetteerEntityExtractor.create(config(), storage, Resource("empty"), CONTEXT)
    component.train(TrainingData())
    loaded = GazetteerEntityExtractor.load(config(), storage, Resource("empty"), CONTEXT)
    assert loaded.extract("du Java") == []


def test_near_names_are_found_among_thousands() -> None:
    # Only the first or the last letters of a name lead to it: no typo may escape for that.
    names = {f"Technologie{number:04d}x{number * 7919 % 10007}": "" for number in range(5000)}
    lexicon = Lexicon({"technology": {name: name for name in names}})
    for name in list(names)[::250]:
        key = word_key(name)
        for at in range(1, len(key) - 1):
            near = lexicon.nearest(key[:at] + "é" + key[at + 1 :])
            assert near is not None
            assert near[1] <= typo_budget(len(key))


def test_two_names_equally_near_are_none() -> None:
    lexicon = Lexicon({"technology": {name: name for name in ("Angular", "Angulor")}})
    assert lexicon.nearest("angulir") is None
    assert lexicon.nearest("angulo") == (("technology", "Angulor"), 1)
