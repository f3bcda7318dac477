"""What a message says in the words of this directory, whatever the pipeline made of it.

The model knows the names that it was trained with. The directory knows its own, now: its skills and
the whole names of its people are found in the text once more, and go before what they overlap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from actions.directory import Found, PeopleFound, Spotted
from actions.directory.matching import skill_key, without_version
from actions.query import Constraint, Query, Term
from common.text import fold

# Entities that a name may take the place of: what an extractor guessed by its context.
_NAMES = frozenset(("technology", "family", "job_title", "topic", "person", "agency"))
_GUESSED = _NAMES | {"unknown", "unsupported", "level", "limit", "rank", "date"}
_OF_SKILLS = frozenset(("technology", "family"))
_HEADS = _OF_SKILLS | {"job_title", "topic"}
# What finds names by the words around them, and in no list.
_GUESSER = "FrenchCRFEntityExtractor"

_ARTICLES = r"(?:\s*\b(?:bien|de|du|des|le|la|les|l|d|un|une|en|a|au|fait|faire)\b['’]?)*\s*"
_NOT = r"(?:sauf|hors|hormis|sans|excepte|ni|jamais|a part|en dehors|(?<!pourquoi )pas)"
_EXCLUDED = re.compile(rf"\b{_NOT}\b{_ARTICLES}$")
_OR = re.compile(rf"\s*\bou\b{_ARTICLES}")

# Words of a question about a person that are nobody's name.
# fmt: off
_FRAME = frozenset((
    "qui", "que", "quoi", "est", "c", "ce", "cet", "cette", "ca", "le", "la", "les", "l", "un",
    "une", "de", "du", "des", "d", "a", "au", "en", "et", "ou", "tu", "vous", "on", "je", "nous",
    "il", "elle", "ils", "elles", "y", "moi", "toi", "lui", "me", "te", "se", "s", "t", "m", "n",
    "ne", "pas", "j", "connais", "connaissez", "connait", "sais", "savez", "sait", "donc", "alors",
    "bonjour", "bonsoir", "salut", "stp", "svp", "plait", "merci", "dis", "dites", "donne",
    "donnez", "parle", "parlez", "cherche", "trouve", "montre", "affiche", "veux", "voudrais",
    "peux", "pouvez", "mail", "email", "adresse", "numero", "tel", "telephone", "portable", "nom",
    "prenom", "fiche", "profil", "monsieur", "madame", "mr", "mme", "mlle", "quel", "quelle", "son",
    "sa", "ses", "mon", "ma", "mes", "avoir", "ai", "as", "pour", "sur", "avec", "chez", "dans",
    "ki", "kel", "cest", "comment", "joindre", "contacter", "quand", "combien",
    # of one about skills
    "quelqu", "qqn", "quelque", "personne", "personnes", "gens", "monde", "connaissent", "maitrise",
    "maitrisent", "maitriser", "fait", "font", "faire", "pratique", "pratiquent", "utilise",
    "competence", "competences", "expert", "experts", "experte", "specialiste", "specialistes",
))
# fmt: on


class Spotter(Protocol):
    """A directory that finds its own names."""

    def spot(self, text: str) -> Sequence[Spotted]:
        """The whole names of people and skills in a text."""
        ...

    def knows_skill(self, name: str) -> bool:
        """Whether a skill has that name."""
        ...

    def find(self, query: Query) -> Found:
        """People whom a query fits."""
        ...

    def find_people(self, name: str) -> PeopleFound:
        """People of that name."""
        ...


def reread(message: Mapping[str, Any], directory: Spotter) -> Mapping[str, Any]:
    """Return ``message`` with the names of ``directory`` among its entities, unless a button's."""
    text = message.get("text")
    if not isinstance(text, str) or text.lstrip().startswith("/"):
        return message
    entities = [_with_version(entity, text) for entity in message.get("entities") or []]
    if not all(map(_is_placed, entities)):
        return message  # whoever gave them knows what the message says
    found: list[dict[str, Any]] = []
    gone: list[Mapping[str, Any]] = []
    for name in directory.spot(text):
        there = [e for e in entities if e["start"] < name.end and name.start < e["end"]]
        said = any(e["entity"] == name.kind and _same(e, name) for e in entities if e not in there)
        if not said and all(_gives_way(entity, name, directory) for entity in there):
            gone += there
            found.append(_entity(name, there, text))
    kept = [entity for entity in entities if entity not in gone]
    merged = sorted([*kept, *found], key=lambda e: e["start"])
    merged = [new for old in merged for new in _settled(old, merged, text, directory)]
    return {**message, "entities": _joined(merged, text)}


def _settled(
    entity: Mapping[str, Any], entities: Sequence[Mapping[str, Any]], text: str, directory: Spotter
) -> list[Mapping[str, Any]]:
    """Return what a word that is in no list is in this directory.

    It may be the name of somebody, typed without a capital, or words of a biography. What is none
    of these, beside what people are looked for by, is not understood rather than a skill that
    nobody has.
    """
    span = text[entity["start"] : entity["end"]]
    guessed = (
        entity["entity"] == "technology"
        and entity.get("extractor") == _GUESSER
        and entity.get("value") == span
        and not _finds(directory, "technology", span)
    )
    if not (guessed or entity["entity"] == "unknown") or entity.get("group"):
        return [entity]
    word, role = fold(span), entity.get("role")
    # « un site marchand en PHP » is about no Mr Marchand.
    skills = any(e["entity"] in _OF_SKILLS for e in entities if e is not entity)
    if (guessed or not skills) and any(
        word in (fold(person.last_name), fold(person.first_name))
        for person in directory.find_people(span).matches
    ):
        if not role and _EXCLUDED.search(fold(text[: entity["start"]])):
            role = "excluded"
        return [{**entity, "entity": "person", "value": span, "role": role}]
    if not guessed:
        return [entity]
    parts = [part for part in re.finditer(r"(?:(?!\s+ou\s)[\s\S])+", span) if part[0].strip()]
    stems = [
        re.sub(r"^\s*(?:ou\s+)?(?:(?:de |du |des |la |le |les )|[ld]['’])*", "", p[0])
        for p in parts
    ]
    if any(_finds(directory, "topic", stem) for stem in stems):
        group = {"group": f"or {entity['start']}"} if len(parts) > 1 else {}
        return [
            {
                **entity,
                **group,
                "entity": "topic",
                "start": entity["start"] + part.end() - len(stem),
                "end": entity["start"] + part.end(),
                "value": stem,
            }
            for part, stem in zip(parts, stems, strict=True)
        ]
    others = (e for e in entities if e is not entity and e["entity"] in _HEADS)
    if any(
        e.get("role") is None and _finds(directory, e["entity"], str(e["value"])) for e in others
    ):
        return [{**entity, "entity": "unsupported"}]
    return [entity]


def _finds(directory: Spotter, kind: str, value: str) -> bool:
    return bool(directory.find(Query((Constraint((Term(kind, value),)),), limit=1)).total)


def _is_placed(entity: object) -> bool:
    return (
        isinstance(entity, Mapping)
        and isinstance(entity.get("entity"), str)
        and isinstance(entity.get("start"), int)
        and isinstance(entity.get("end"), int)
    )


def _with_version(entity: Any, text: str) -> Any:
    """Return a skill with the version that its canonical value has lost: « Java 17 »."""
    if _is_placed(entity) and entity["entity"] == "technology":
        span = skill_key(text[entity["start"] : entity["end"]])
        base, value = without_version(span), entity.get("value")
        if base and isinstance(value, str) and not without_version(skill_key(value)):
            return {**entity, "value": f"{value} {span[len(base) :].strip()}"}
    return entity


def _gives_way(entity: Mapping[str, Any], name: Spotted, directory: Spotter) -> bool:
    """Whether an entity that overlaps a name of the directory gives way to it."""
    inside = name.start <= entity["start"] and entity["end"] <= name.end
    same = inside and (entity["start"], entity["end"]) == (name.start, name.end)
    kind = entity["entity"]
    if same:
        return kind in _GUESSED - {"family", "agency", "job_title"}
    if inside:
        return True
    if kind not in _GUESSED:
        return False
    covers = entity["start"] <= name.start and name.end <= entity["end"]
    if not covers:
        return name.end - name.start >= entity["end"] - entity["start"]
    # « maîtrise des marchés publics »: a guess with more in it than the directory knows. Words
    # around a name do no harm to whoever looks it up.
    return kind in ("technology", "unknown", "topic") and not directory.knows_skill(
        str(entity.get("value"))
    )


def _same(entity: Mapping[str, Any], name: Spotted) -> bool:
    return fold(str(entity.get("value"))) == fold(name.value)


def _entity(name: Spotted, instead_of: Sequence[Mapping[str, Any]], text: str) -> dict[str, Any]:
    entity: dict[str, Any] = {
        "entity": name.kind, "start": name.start, "end": name.end, "value": name.value,
    }  # fmt: skip
    named = [old for old in instead_of if old["entity"] in _NAMES]
    for old in named:
        entity.update({key: old[key] for key in ("role", "group") if old.get(key)})
    # Of a name that the pipeline knew, it has decided: « personne qui ne connaisse pas … ».
    if not named and _EXCLUDED.search(fold(text[: name.start])):
        entity["role"] = "excluded"
    return entity


def _joined(entities: list[Any], text: str) -> list[Any]:
    """Make skills with « ou » between them alternatives, where nobody has grouped them."""
    result: list[Any] = []
    for entity in entities:
        last: Any = result[-1] if result else None
        if (
            last is not None
            and {entity["entity"], last["entity"]} <= _OF_SKILLS
            and not (entity.get("group") and last.get("group"))
            and _OR.fullmatch(fold(text[last["end"] : entity["start"]]))
        ):
            group = last.get("group") or entity.get("group") or f"or {last['start']}"
            result[-1], entity = {**last, "group": group}, {**entity, "group": group}
        result.append(entity)
    return result


def left_over(message: Mapping[str, Any]) -> str:
    """Return the words of a question about a person that nobody recognised, as a name may be."""
    text = message.get("text")
    if not isinstance(text, str) or text.lstrip().startswith("/"):
        return ""
    taken = [
        (entity["start"], entity["end"])
        for entity in message.get("entities") or []
        if _is_placed(entity) and entity["entity"] != "unknown"
    ]
    words = [
        match[0]
        for match in re.finditer(r"[^\W_]+(?:[-'’][^\W_]+)*", text)
        if not any(start < match.end() and match.start() < end for start, end in taken)
    ]
    named = (re.sub(r"^(?:[cdjlmnst]|qu)['’]", "", word, flags=re.I) for word in words)
    return " ".join(word for word in named if not _FRAME.issuperset(re.split(r"[-']", fold(word))))
