"""Entities end to end: Rasa trains the entity part of the pipeline on data/ and reads sentences."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from rasa.core.agent import Agent
from rasa.model_training import train_nlu
from rasa.shared.nlu.training_data.loading import load_data

from benchmarks.constraints import compare, kind_of
from components.lexicon import Lexicon
from tests.support import ROOT

PIPELINE = [
    {"name": "components.tokenizer.FrenchTokenizer"},
    {"name": "components.crf.FrenchCRFEntityExtractor"},
    {"name": "components.gazetteer.GazetteerEntityExtractor"},
    {"name": "components.constraints.ConstraintExtractor"},
]

Parse = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def parse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parse]:
    """The entities of a text, by a model trained and loaded as Rasa does it."""
    folder = tmp_path_factory.mktemp("entities")
    config = folder / "config.yml"
    config.write_text(
        yaml.safe_dump({"recipe": "default.v1", "language": "fr", "pipeline": PIPELINE})
    )
    data = folder / "data"
    data.mkdir()
    for name in ("nlu.yml", "lookups.yml", "names.yml", "constraints.yml"):
        (data / name).write_bytes((ROOT / "data" / name).read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        # Rasa keeps its training cache under the working directory.
        patch.chdir(folder)
        model = train_nlu(str(config), str(data), str(folder), fixed_model_name="entities")
        assert model is not None
        agent = Agent.load(model)
    loop = asyncio.new_event_loop()

    def run(text: str) -> list[dict[str, Any]]:
        result = loop.run_until_complete(agent.parse_message(text))
        json.dumps(result)
        entities: list[dict[str, Any]] = result["entities"]
        return entities

    yield run
    loop.close()


def test_held_out_constraints_are_read_by_kind(parse: Parse) -> None:
    lexicon = Lexicon.from_training_data(load_data(str(ROOT / "data" / "lookups.yml")))
    messages = load_data(str(ROOT / "tests" / "data" / "constraints.yml")).nlu_examples
    kinds: dict[str, list[bool]] = defaultdict(list)
    for message, wanted, found in compare(parse, messages, lexicon):
        kinds[kind_of(message)].append(wanted == found)
    # One message more or less says nothing of the small kinds.
    shares = {kind: sum(right) / len(right) for kind, right in kinds.items() if len(right) > 10}
    assert min(shares.values()) >= 0.85, shares
    assert sum(map(sum, kinds.values())) >= 0.9 * len(messages)


def person(name: str) -> tuple[str, str]:
    return ("person", name)


def technology(name: str) -> tuple[str, str]:
    return ("technology", name)


def job_title(name: str) -> tuple[str, str]:
    return ("job_title", name)


def agency(name: str) -> tuple[str, str]:
    return ("agency", name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Qui est Gwenaël Tréguier ?", [person("Gwenaël Tréguier")]),
        ("qui est gwenael treguier", [person("gwenael treguier")]),
        ("C'est qui M. Zaragoulian ?", [person("Zaragoulian")]),
        ("tu connais mme Le Floc'h ?", [person("Le Floc'h")]),
        ("Tu connais Jean-Baptiste d'Arcourt ?", [person("Jean-Baptiste d'Arcourt")]),
        ("Parle-moi d'Ousmane Traoré", [person("Ousmane Traoré")]),
        ("le mail de paul martin stp", [("detail", "email"), person("paul martin")]),
        ("Quel est le numéro de Linh Pham ?", [("detail", "phone"), person("Linh Pham")]),
        ("Qui s'y connaît en Kubernetes ?", [technology("Kubernetes")]),
        ("qui sy connait en k8s", [technology("Kubernetes")]),
        ("Qui fait du C++ ?", [technology("C++")]),
        ("qui fait du c#", [technology("C#")]),
        ("Un expert .NET ?", [("level", "4"), technology(".NET")]),
        ("qqn connait node js ?", [technology("Node.js")]),
        ("qui maitrise la ci/cd", [technology("CI/CD")]),
        ("Qui connaît Java 17 ?", [technology("Java")]),
        ("Qui connaît l'Angular ?", [technology("Angular")]),
        ("qui connaît pyhton", [technology("Python")]),
        ("besoin d'un dev kubernets", [job_title("développeur"), technology("Kubernetes")]),
        ("Qui s'y connaît en sécurité applicative ?", [technology("Sécurité applicative")]),
        ("qui s'y connait en securite applicative", [technology("Sécurité applicative")]),
        ("Qui s'y connaît en Zorbaflux ?", [technology("Zorbaflux")]),
        (
            "Un dev Python à Nantes ?",
            [job_title("développeur"), technology("Python"), agency("Nantes")],
        ),
        ("qui fait du react a saint etienne", [technology("React"), agency("Saint-Étienne")]),
        ("Python et Docker", [technology("Python"), technology("Docker")]),
        ("Et à Rennes ?", [("follow_up", "follow_up"), agency("Rennes")]),
        ("Et en Kotlin ?", [("follow_up", "follow_up"), technology("Kotlin")]),
        ("et lui, il connaît Docker ?", [("reference", "reference"), technology("Docker")]),
        ("voir la suite", [("more", "more")]),
        ("le deuxième", [("rank", "2")]),
        ("kubernetes", [technology("Kubernetes")]),
        ("Bonjour, comment ça va ?", []),
        ("Quel temps fait-il aujourd'hui ?", [("date", "aujourd'hui")]),
        ("merci beaucoup", []),
    ],
)
def test_what_is_read_in_a_question(
    parse: Parse, text: str, expected: list[tuple[str, str]]
) -> None:
    found = [(entity["entity"], entity["value"]) for entity in parse(text)]
    # How a turn opens is told besides; it has a test of its own.
    assert [pair for pair in found if pair != ("ask", "people")] == expected


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", "😀", "\x00", "مرحبا", "'; DROP TABLE x; --", "<script>alert(1)</script>"],
        *["qui connaît Java ? " * 5000, "x" * 100_000],
    ],
    ids=lambda text: repr(text[:12]),
)
def test_odd_texts_are_survived(parse: Parse, text: str) -> None:
    for entity in parse(text):
        assert 0 <= entity["start"] < entity["end"] <= len(text)


def test_a_button_keeps_the_entities_of_its_payload(parse: Parse) -> None:
    entities = parse('/WHO_KNOWS_ABOUT{"technology": "Kubernetes", "agency": "Nantes"}')
    assert {entity["entity"]: entity["value"] for entity in entities} == {
        "technology": "Kubernetes",
        "agency": "Nantes",
    }
    assert {entity["extractor"] for entity in entities} == {"RegexMessageHandler"}
