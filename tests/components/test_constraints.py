"""ConstraintExtractor with the project's patterns; names are given, as by earlier extractors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rasa.engine.graph import ExecutionContext, GraphSchema
from rasa.engine.storage.local_model_storage import LocalModelStorage
from rasa.engine.storage.resource import Resource
from rasa.shared.nlu.constants import ENTITIES, TEXT
from rasa.shared.nlu.training_data.entities_parser import parse_training_example
from rasa.shared.nlu.training_data.loading import load_data
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from components.component import DamagedModelError, TrainingError
from components.constraints import ConstraintExtractor
from tests.support import ROOT

CONTEXT = ExecutionContext(GraphSchema({}))
RESOURCE = Resource("constraints")

# entity, value, role, group
Read = tuple[str, str, str | None, str | None]


def create(folder: Path, **changes: Any) -> tuple[ConstraintExtractor, LocalModelStorage]:
    storage = LocalModelStorage(folder)
    config = {**ConstraintExtractor.get_default_config(), **changes}
    return ConstraintExtractor.create(config, storage, RESOURCE, CONTEXT), storage


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> ConstraintExtractor:
    component, _ = create(tmp_path_factory.mktemp("constraints"))
    data = [load_data(str(ROOT / "data" / name)) for name in ("nlu.yml", "constraints.yml")]
    component.train(data[0].merge(data[1]))
    return component


def read(extractor: ConstraintExtractor, annotated: str) -> list[Read]:
    """What is found in a text whose names are annotated, but for how the turn opens."""
    message = parse_training_example(annotated, "any")
    extractor.process([message])
    entities = message.get(ENTITIES) or []
    return [
        (e["entity"], e["value"], e.get("role"), e.get("group"))
        for e in entities
        if (e["entity"], e["value"]) != ("ask", "people")
    ]


def brief(found: list[Read]) -> list[str]:
    """``entity=value/role#group``, as short as it goes."""
    return [
        f"{entity}={value}" + (f"/{role}" if role else "") + (f"#{group}" if group else "")
        for entity, value, role, group in found
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "qui connaît [Docker](technology) mais pas [Kubernetes](technology) à [Lyon](agency)",
            "technology=Docker technology=Kubernetes/excluded agency=Lyon",
        ),
        (
            "du [Java](technology) sauf à [Paris](agency) ou [Lille](agency)",
            "technology=Java agency=Paris/excluded agency=Lille/excluded",
        ),
        (
            "ni [Java](technology) ni [PHP](technology)",
            "technology=Java/excluded technology=PHP/excluded",
        ),
        (
            "[Docker](technology) sans [Kubernetes](technology) à [Lyon](agency)",
            "technology=Docker technology=Kubernetes/excluded agency=Lyon",
        ),
        ("[Java](technology), pas [JavaScript](technology)",
         "technology=Java technology=JavaScript/excluded"),
        (
            "à part [Paul Martin](person), qui connaît [Java](technology) à [Lyon](agency) ?",
            "person=Paul Martin/excluded technology=Java agency=Lyon",
        ),
        ("qui ne fait ni [React](technology), ni [Vue](technology) et connaît [Go](technology)",
         "technology=React/excluded technology=Vue/excluded technology=Go"),
        ("qui n'a jamais fait de [Java](technology) ?", "technology=Java/excluded"),
        ("pas ceux qui connaissent [Java](technology)", "technology=Java/excluded"),
        ("[Docker](technology) oui, [Helm](technology) non",
         "technology=Docker technology=Helm/excluded"),
        ("un [architecte](job_title), pas de [dev](job_title) [PHP](technology)",
         "job_title=architecte technology=PHP/excluded"),
        ("pas [dispo](detail)", "detail=availability/excluded"),
        ("aucun de [Paris](agency), du [Go](technology)", "agency=Paris/excluded technology=Go"),
        ("du [Go](technology) mais pas de junior", "technology=Go level=3/minimum"),
        ("du [Go](technology), les [architectes](job_title) j'en veux pas",
         "technology=Go job_title=architectes/excluded"),
        ("[Lyon](agency) c'est mort, du [Go](technology)", "agency=Lyon/excluded technology=Go"),
        ("du [Go](technology), [Anne](person) est prise, hormis elle",
         "technology=Go person=Anne/excluded"),
        ("du [Go](technology) à part elle", "technology=Go reference=elle/excluded"),
        ("du [Go](technology) À PART ELLE", "technology=Go reference=ELLE/excluded"),
        ("du [Go](technology) mais pas [Paul](person), il est pris en mars",
         "technology=Go person=Paul/excluded"),
        ("Un œil sur le chœur : du [Go](technology) mais pas [Paul](person), il est pris en mars",
         "technology=Go person=Paul/excluded"),
        ("tant pis pour [Vue](technology), enlevez-le",
         "change=drop technology=Vue/excluded"),
        ("[Helm](technology) n'est plus exigé", "technology=Helm/excluded change=drop"),
        ("remplace [Go](technology) par [Rust](technology)",
         "change=drop technology=Go/excluded technology=Rust"),
        ("pas [Java](technology), pas [Scala](technology) : [Go](technology)",
         "technology=Java/excluded technology=Scala/excluded technology=Go"),
        ("les [devs](job_title), ni [quang ni aurélie](person)",
         "job_title=devs person=quang/excluded person=aurélie/excluded"),
        ("[Évitez-moi Paul Martin](person)", "person=Paul Martin/excluded"),
        ("du [Go](technology), aucun [lyonnais](agency)",
         "technology=Go agency=lyonnais/excluded"),
    ],
)  # fmt: skip
def test_exclusions(extractor: ConstraintExtractor, text: str, expected: str) -> None:
    assert " ".join(brief(read(extractor, text))) == expected


@pytest.mark.parametrize(
    "text",
    [
        "qui ne fait pas que du [Java](technology) ?",
        "pas seulement [Java](technology)",
        "pourquoi pas [Java](technology) ?",
        "t'aurais pas quelqu'un en [Java](technology) ?",
        "Vous ne connaissez pas un bon profil [Java](technology) ?",
        "il n'y a pas quelqu'un en [Java](technology) ?",
        "je ne sais pas qui connaît [Java](technology)",
        "qui n'est pas sans connaître [Java](technology)",
        "pas mal de monde en [Java](technology)",
        "ça ne presse pas. Qui connaît [Java](technology) ?",
        "je ne veux pas attendre, alors qui fait du [Java](technology)",
        "je ne dirais pas non à du [Java](technology)",
        "je ne serais pas contre un profil [Java](technology)",
        "pas un seul [Java](technology) dans la maison ?",
    ],
)
def test_what_sounds_like_an_exclusion_and_is_none(
    extractor: ConstraintExtractor, text: str
) -> None:
    assert ("technology", "Java", None, None) in read(extractor, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[Kotlin](technology) ou [Swift](technology), à [Nantes](agency) ou à [Lyon](agency), "
            "niveau 4 minimum",
            "technology=Kotlin#1 technology=Swift#1 agency=Nantes#2 agency=Lyon#2 level=4/minimum",
        ),
        ("[A](technology), [B](technology) ou [C](technology)",
         "technology=A#1 technology=B#1 technology=C#1"),
        ("[A](technology), [B](technology) et [C](technology)",
         "technology=A technology=B technology=C"),
        ("[A](technology) et [B](technology) ou [C](technology)",
         "technology=A technology=B#1 technology=C#1"),
        ("soit [A](technology), soit [B](technology)", "technology=A#1 technology=B#1"),
        ("basé où, [A](technology) où [B](technology)", "technology=A technology=B"),
        ("un [dev](job_title) [front](family) ou du [Vue](technology)",
         "job_title=dev family=front#1 technology=Vue#1"),
        ("un [dev](job_title) [A](technology) ou un [dev](job_title) [B](technology)",
         "job_title=dev technology=A#1 job_title=dev technology=B#1"),
        ("un [lead](job_title) [A](technology) ou un [dev](job_title) [B](technology)",
         "job_title=lead#1 technology=A#2 job_title=dev#1 technology=B#2"),
        ("à [Nantes](agency) et à [Lyon](agency)", "agency=Nantes#1 agency=Lyon#1"),
        ("les [testeurs](job_title) et les [devs](job_title)",
         "job_title=testeurs#1 job_title=devs#1"),
        ("[A](technology) / [B](technology), peu importe", "technology=A#1 technology=B#1"),
        ("un [CMS](family), genre [A](technology), [B](technology)",
         "family=CMS#1 technology=A#1 technology=B#1"),
    ],
)  # fmt: skip
def test_alternatives(extractor: ConstraintExtractor, text: str, expected: str) -> None:
    assert " ".join(brief(read(extractor, text))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[A](technology) niveau 4 et [B](technology)",
         "technology=A#1 level=4/exact#1 technology=B"),
        ("un expert senior [A](technology)",
         "level=4/minimum#1 level=4/minimum#1 technology=A#1"),
        ("expert [A](technology) et au moins 3 en [B](technology)",
         "level=4/minimum#1 technology=A#1 level=3/minimum#2 technology=B#2"),
        ("au moins 4 en [A](technology) et [B](technology)",
         "level=4/minimum technology=A technology=B"),
        ("un [dev](job_title) [A](technology) confirmé",
         "job_title=dev technology=A#1 level=4/minimum#1"),
        ("au moins 4", "level=4/minimum"),
        ("niveau 5", "level=5/exact"),
        ("niveau 4 ou 5", "level=4/minimum"),
        ("4+", "level=4/minimum"),
        ("plus de 3", "level=4/minimum"),
        ("moins de 3", "level=2/maximum"),
        ("pas plus de 3", "level=3/maximum"),
        ("pas moins de 3", "level=3/minimum"),
        ("un niveau intermédiaire", "level=3/exact"),
        ("des débutants", "level=2/maximum"),
    ],
)  # fmt: skip
def test_levels(extractor: ConstraintExtractor, text: str, expected: str) -> None:
    assert " ".join(brief(read(extractor, text))) == expected


@pytest.mark.parametrize(
    ("text", "value", "role"),
    [
        ("dispo en janvier", "janvier", None),
        ("avant le 15 décembre", "15 décembre", "before"),
        ("d'ici le 15/12", "15/12", "before"),
        ("d'ici la fin du mois", "la fin du mois", "before"),
        ("dispo à partir du 1er février 2027", "1er février 2027", "from"),
        ("dès lundi", "lundi", "from"),
        ("au 3 mars", "3 mars", "from"),
        ("libre après le 10/01/2027", "10/01/2027", "after"),
        ("dispo tout de suite", "tout de suite", None),
        ("dispo dans deux mois", "dans deux mois", None),
        ("libre la semaine prochaine", "la semaine prochaine", None),
        ("avant le 5", "5", "before"),
    ],
)
def test_dates(extractor: ConstraintExtractor, text: str, value: str, role: str | None) -> None:
    dates = [item for item in read(extractor, text) if item[0] == "date"]
    assert dates == [("date", value, role, None)]


@pytest.mark.parametrize(
    "text",
    ["[Java 21](technology)", "[Angular 17](technology)", "qui est [Avril Lavigne](person)"],
)
def test_what_looks_like_a_date_and_is_none(extractor: ConstraintExtractor, text: str) -> None:
    assert [entity for entity, *_ in read(extractor, text)] in (["technology"], ["person"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Un prospect dans l'énergie nous interroge sur [Go](technology)",
            "topic=énergie/context technology=Go",
        ),
        (
            "Le [chef de projet](job_title) de [Sogetel](technology) réclame du [Go](technology)",
            "technology=Go",
        ),
        (
            "Le client est une mutuelle, en [Java](technology). Qui connaît [Go](technology) ?",
            "topic=mutuelle/context technology=Java/context technology=Go",
        ),
        ("Projet [Java](technology). Il faut aussi du [Go](technology).",
         "technology=Java technology=Go"),
        ("qui connaît [Go](technology) dans la banque ?", "technology=Go topic=banque"),
        ("Un [dev](job_title) [Go](technology) que le client demande",
         "job_title=dev technology=Go"),
    ],
)  # fmt: skip
def test_what_is_told_of_who_asks_is_no_demand(
    extractor: ConstraintExtractor, text: str, expected: str
) -> None:
    assert " ".join(brief(read(extractor, text))) == expected


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("Bonjour [Camille](person), qui connaît [Go](technology) ?", ["addressee"]),
        ("Qui connaît [Go](technology) ? Cordialement, [Jean Dupont](person)", ["author"]),
        ("Qui connaît [Go](technology) ?\n[Jean Dupont](person)", ["author"]),
        ("Merci [Louis](person)", ["addressee"]),
        ("salut [Kevin](person) c ki", [None]),
        ("bonjour, [Camille](person) svp", [None]),
        ("pour le client [Renault](person), qui connaît [Go](technology)", ["client"]),
        ("Pour le client Renault Trucks, qui connaît [Go](technology)", ["client"]),
        ("une mission chez [Thales](technology)", ["client"]),
        ("chez nous à [Lyon](agency)", []),
        ("un [Go](technology) pour BNP", ["client"]),
        ("un [dev](job_title) [Go](technology) pour la Société Générale", ["client"]),
        ("une formation pour [Paul](person)", [None]),
        ("le niveau en [Go](technology) pour [Paul](person) ?", [None]),
        ("[Marion](person) m'a demandé qui fait du [Go](technology)", ["author"]),
        ("[Julien](person) (Carrefour) réclame du [Go](technology)", ["author"]),
        ("[Julien Lambert (Carrefour](person)) cherche du [Go](technology)", ["author"]),
        ("[Bernard insiste](person) pour du [Go](technology)", ["author"]),
        ("Mme [Fabre](person), de chez Orange, veut du [Go](technology)", ["author", "client"]),
        ("Madame [Toulouse](agency) veut du [Go](technology)", ["author"]),
        ("[Paul](person) cherche quoi ?", [None]),
        (
            "[Sophie](person) de chez Airbus m'a relancé pour du [Go](technology)",
            ["author", "client"],
        ),
        ("[Camille](person), tu sais qui fait du [Go](technology) ?", ["addressee"]),
        ("j'ai eu [Philippe](person) au téléphone, il veut du [Go](technology)", ["author"]),
        ("en copie Mme [Rousseau](person). Du [Go](technology) ?", ["author"]),
        ("mon client M. [Delmas](person) : du [Go](technology)", ["author"]),
        ("ma [directrice](job_title) [Claire](person) voudrait du [Go](technology)", ["author"]),
        ("mon collègue [Paul](person) connaît [Go](technology) ?", [None]),
        ("comme vu avec [Hugo](person) ce matin : du [Go](technology)", ["author"]),
        ("de la part de [Bastien](person) : qui fait du [Go](technology) ?", ["author"]),
        (
            "du [Go](technology) ?\nCordialement,\n[Anne](person)\n[Chef](job_title) de pôle",
            ["author"],
        ),
        ("chez qui, [Paul](person) ?", [None]),
        ("un dev [Go](technology) ?\n[Paul Martin](person)", ["author"]),
        ("Qui est\n[Paul Martin](person)", [None]),
        ("le niveau en [Go](technology) de\n[Paul Martin](person) ?", [None]),
    ],
)
def test_people_who_are_not_asked_about(
    extractor: ConstraintExtractor, text: str, roles: list[str | None]
) -> None:
    assert [role for entity, _, role, _ in read(extractor, text) if entity == "person"] == roles


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("les 3 meilleurs en [A](technology)", "limit=3 technology=A"),
        ("top 10", "limit=10"),
        ("tous ceux de [Lyon](agency)", "limit=all choice=several agency=Lyon"),
        ("le meilleur en [A](technology)", "limit=1 technology=A"),
        ("qui est meilleur en [A](technology), [P Un](person) ou [P Deux](person) ?",
         "ask=comparison technology=A person=P Un person=P Deux"),
        ("qui pourrait remplacer [P](person) ?", "ask=substitute person=P"),
        ("combien on est à [Nantes](agency) ?", "ask=number agency=Nantes"),
        ("ki est meilleur en [A](technology) entre [P Un](person) et [P Deux](person)",
         "ask=comparison technology=A person=P Un person=P Deux"),
        ("il est meilleur que [P](person) en [A](technology)",
         "reference=reference ask=comparison person=P technology=A"),
        ("si [P](person) part, qui a un profil équivalent ?", "person=P ask=substitute"),
        ("où est-ce qu'on est implantés ?", "ask=agencies"),
        ("mets-m'en 8", "limit=8"),
        ("toute la liste", "limit=all"),
        ("qui d'autre sinon", "more=qui d'autre"),
        ("et l'autre ?", "choice=other"),
        ("enlève [A](technology)", "change=drop technology=A/excluded"),
        ("[A](technology) à la place de [B](technology)",
         "technology=A change=drop technology=B/excluded"),
        ("avec [A](technology) en plus", "technology=A change=add"),
        ("laisse tomber la dispo", "drop=availability"),
        ("pas besoin qu'ils soient dispos", "drop=availability"),
        ("la même recherche mais à [Lyon](agency)", "follow_up=la même recherche agency=Lyon"),
        ("qui y fait du [A](technology) ?", "follow_up=y technology=A"),
        ("quelqu'un qui connaît [A](technology) et [B](technology), les deux",
         "technology=A technology=B"),
        ("à [Lyon](agency), euh non à [Paris](agency)", "agency=Paris"),
        ("du [A](technology), pardon, du [B](technology)", "technology=B"),
        ("sauf erreur on a du [A](technology)", "technology=A"),
        ("il faudra sans doute un expert [A](technology)", "level=4/minimum#1 technology=A#1"),
        ("on a pas mal de gens en [A](technology) à [Lyon](agency) non ?",
         "technology=A agency=Lyon"),
        ("let's [go](technology), qui connaît [A](technology) ?", "technology=A"),
        ("[A](technology), sauf s'il est à [Lyon](agency)", "technology=A agency=Lyon/excluded"),
        ("[A](technology) sauf si c'est quelqu'un qui n'est pas libre", "technology=A"
         " detail=availability"),
        ("je ne veux personne qui ne connaisse pas [A](technology)", "technology=A"),
        ("du [A](technology) avec la certif [CKA](technology)",
         "technology=A unsupported=certificate"),
        ("niveau de 3 à 5 en [A](technology)", "level=3/minimum#1 technology=A#1"),
        ("Bonjour, c'est [P](person) de l'agence de [Lyon](agency). Du [A](technology) ?",
         "person=P/author technology=A"),
        ("rdv avec Madame [P](person) jeudi, elle veut du [A](technology)",
         "person=P/author technology=A"),
        ("[Nantes](agency) exclu, du [A](technology)", "agency=Nantes/excluded technology=A"),
        ("[A](technology) obligatoire, [B](technology) souhaité", "technology=A technology=B"),
        ("quelle agence a le plus de [A](technology)", "ask=agencies technology=A"),
        ("qui dirige l'agence de [Lyon](agency) ?", "job_title=directeur agency=Lyon"),
        ("si je perds [P](person), qui prendre à la place ?", "person=P ask=substitute"),
        ("sans la dispo", "drop=availability"),
        ("sans le niveau", "drop=level"),
        ("et avec [A](technology) aussi", "technology=A change=add"),
        ("dispo la semaine du 14 décembre", "detail=availability date=la semaine du 14 décembre"),
        ("libre entre le 5 et le 20 février",
         "detail=availability date=entre le 5 et le 20 février"),
        ("dispo du 5 au 20 février", "detail=availability date=du 5 au 20 février/from"),
        ("de janvier à mars", "date=de janvier à mars/from"),
        ("que sait-on faire à [Tours](agency) ?", "ask=skills agency=Tours"),
        ("quelles agences avez-vous ?", "ask=agencies"),
        ("[elle](reference) est à combien en [A](technology) ?",
         "reference=elle ask=level technology=A"),
        ("laquelle des deux est la meilleure ?", "choice=one reference=reference ask=comparison"),
        ("trie par agence", "order=agency"),
        ("et partout ?", "drop=agency"),
        ("ok et sans cette contrainte ?", "drop=last"),
        ("enlève ce critère", "drop=last"),
        ("retire le filtre ville", "drop=agency"),
        ("il a travaillé chez [Airbus](person)", "topic=Airbus"),
        ("nouvelle recherche", "drop=all"),
        ("non, plutôt [A](technology)", "change=replace technology=A"),
        ("pardon, [Durant](person) avec un t", "change=replace person=Durant"),
        ("rien qu'à [Lille](agency), merci", "change=add agency=Lille"),
        ("celui qui fait du [A](technology)", "choice=one technology=A"),
        ("c'est à qui, a.b@example.com ?", "email=a.b@example.com"),
        ("qui a le +33 6 39 98 05 48", "phone=+33 6 39 98 05 48"),
        ("qui parle anglais", "unsupported=language"),
        ("certifié [A](technology)", "unsupported=certification technology=A"),
        ("5 ans d'expérience", "unsupported=experience"),
        ("dans la banque", "topic=banque"),
    ],
)  # fmt: skip
def test_what_else_is_asked(extractor: ConstraintExtractor, text: str, expected: str) -> None:
    assert " ".join(brief(read(extractor, text))) == expected


@pytest.mark.parametrize(
    ("text", "opens"),
    [
        ("qui connaît [A](technology) ?", True),
        ("Bonjour, je cherche un [dev](job_title)", True),
        ("combien on est à [Lyon](agency) ?", True),
        ("combien à [Lyon](agency) ?", False),
        ("[et](follow_up) qui est [libre](detail) ?", False),
        ("parmi eux qui est [libre](detail) ?", False),
        ("plutôt [A](technology)", False),
        ("qui d'autre ?", False),
        ("Est-ce que [Paul Martin](person) connaît [A](technology) ?", False),
        ("je veux savoir si [Paul](person) de [Lyon](agency) est bon en [A](technology)", False),
        ("On a [P](person), est-ce qu'elle s'y connaît en [A](technology) ?", False),
        ("peux-tu me dire si [P](person) est [dispo](detail) en mai", False),
        ("[P](person) est parti. Qui connaît [A](technology) ?", False),
        ("je cherche un [dev](job_title), [P](person) est en congés", True),
        ("quelqu'un en [A](technology) ? [P](person) a dit qui connaît [B](technology)", True),
    ],
)
def test_whether_a_turn_opens_as_a_question_of_its_own(
    extractor: ConstraintExtractor, text: str, opens: bool
) -> None:
    message = parse_training_example(text, "any")
    extractor.process([message])
    assert any(e["value"] == "people" for e in message.get(ENTITIES) or []) == opens


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("qui a du background [A](technology)", ["background"]),
        ("un profil [A](technology) zélé, ponctuel", ["zélé, ponctuel"]),
        ("du [A](technology) sauf s'il pleut à [Paris](agency)", ["s'il pleut à Paris"]),
        ("qui connaît [A](technology) ?", []),
        ("ki conné [A](technology)", []),
        ("qui connaitt [A](technology)", []),
    ],
)
def test_words_that_nobody_understands_are_named(
    extractor: ConstraintExtractor, text: str, unknown: list[str]
) -> None:
    found = [value for entity, value, *_ in read(extractor, text) if entity == "unknown"]
    assert found == unknown


@pytest.mark.parametrize(
    "text", ["", None, " ", "/WHO_IS", '/WHO_IS{"person": "pas Paul"}', "😀", "\x00"]
)
def test_odd_texts_and_buttons(extractor: ConstraintExtractor, text: str | None) -> None:
    given = {"entity": "person", "start": 0, "end": 1, "value": "x"}
    message = Message({TEXT: text, ENTITIES: [given] if text == "/WHO_IS" else []})
    extractor.process([message])
    assert message.get(ENTITIES) == ([given] if text == "/WHO_IS" else [])


def test_long_texts_are_read_in_part_and_offsets_fit(extractor: ConstraintExtractor) -> None:
    text = "œuvre ﬁ é 👍🏽 niveau 4 " * 5000
    message = Message({TEXT: text})
    extractor.process([message])
    entities = message.get(ENTITIES)
    assert {text[e["start"] : e["end"]] for e in entities if e["entity"] == "level"} == {"niveau 4"}
    json.dumps(entities)


def test_stored_and_loaded_it_finds_the_same(tmp_path: Path) -> None:
    component, storage = create(tmp_path)
    component.train(load_data(str(ROOT / "data" / "constraints.yml")))
    loaded = ConstraintExtractor.load(component.config, storage, RESOURCE, CONTEXT)
    text = "du [A](technology) ou [B](technology) niveau 4"
    assert read(loaded, text) == read(component, text) != []


def test_a_damaged_model_is_refused_by_name(tmp_path: Path) -> None:
    component, storage = create(tmp_path)
    component.train(TrainingData())
    with storage.write_to(RESOURCE) as folder:
        (folder / "constraints.json").write_text("{")
    with pytest.raises(DamagedModelError, match=r"constraints\.json"):
        ConstraintExtractor.load(component.config, storage, RESOURCE, CONTEXT)


@pytest.mark.parametrize(("name", "pattern"), [("level=", "x"), ("level", "(")])
def test_a_pattern_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, name: str, pattern: str
) -> None:
    component, _ = create(tmp_path)
    with pytest.raises(TrainingError, match=name):
        component.train(TrainingData(regex_features=[{"name": name, "pattern": pattern}]))
