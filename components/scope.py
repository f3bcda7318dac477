"""What a word does to those around it: exclusion, alternatives, levels, who is spoken to.

All of it follows from the order of the words alone. ``docs/components/constraints.md`` has the
rules with examples.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import regex
from rasa.nlu.constants import ENTITY_ATTRIBUTE_CONFIDENCE_TYPE
from rasa.shared.nlu.constants import (
    ENTITY_ATTRIBUTE_END,
    ENTITY_ATTRIBUTE_GROUP,
    ENTITY_ATTRIBUTE_ROLE,
    ENTITY_ATTRIBUTE_START,
    ENTITY_ATTRIBUTE_TYPE,
    ENTITY_ATTRIBUTE_VALUE,
    EXTRACTOR,
)

from common.text import fold, fold_aligned
from components.lexicon import word_key, word_set
from components.tokenizer import token_spans

# Entities of one slot may be alternatives of each other; an exclusion reaches them, and people.
_SLOTS = {
    "technology": "skill",
    "family": "skill",
    "job_title": "skill",
    "agency": "agency",
    "topic": "topic",
}
EXCLUDABLE = {**_SLOTS, "person": "person", "detail": "detail"}
_QUALIFIED = ("technology", "family")
# Names that an extractor may have found by their context alone.
_GUESSED = ("technology", "job_title", "person")

_OR = word_set("ou soit sinon voire")
_AND = word_set("et ainsi que aussi egalement puis plus avec mais en outre")
_SMALL = word_set(
    "a au aux bien bon ca ce ces ceux celles celui celle chez cote d dans de des dev du en encore "
    "equipe l la langage le les meme n ne nos notre outil par pour profil profils qu s site sur "
    "surtout techno technologie technos un une vers ville vrai agence agences"
)
_BESIDE = _SMALL | word_set("niveau avec technique est vraiment tres plutot acceptes accepte")
_LIST = _SMALL | _OR | word_set("et ni pas sans sauf hors hormis non plus jamais")
_NOTS = word_set("pas pa jamais")
_PARTITIVES = word_set("du des un une")
# An exclusion ends at these before it has reached anything, and not at « ceux qui ».
_ENDS = word_set("mais plutot alors donc oui sinon qui")
# Who asks is named with one of these in front, and none of the others in between.
_DETERMINERS = word_set(
    "un une le la l mon ma mes notre nos son sa leur leurs votre certain certaine cet cette "
    "m mr mme mlle monsieur madame"
)
_ASKING = word_set(
    "qui ki que qu quel quelle quels quelles dont je j on nous vous tu il ils faut besoin cherche "
    "recherche combien pour"
)
_ANTECEDENTS = word_set(
    "ceux celles celui celle gens personne personnes profil profils dev devs monde collegue "
    "quelquun collegues consultant consultants"
)
# Words that an exclusion or an « ou » reaches over.
_REACH = 7
_BEFORE_DATE = word_set("le la les l au du a mois de")
# No company is called so.
_NOBODY = word_set(
    "nous vous toi moi eux elles lui elle un une le la les l notre nos votre vos mon ma mes ton ta "
    "tes son sa ses leur leurs ce cet cette ces qui que client clients soi m mr mme mlle monsieur "
    "madame"
)

_ASKED_ABOUT = regex.compile(r"\s+(?:c'?est (?:qui|ki)|c (?:qui|ki)|ki c|svp|stp|s'il)\b")
_VOCATIVE = regex.compile(
    r"\s*,\s*(?:qui (?:connait|sait|fait|maitrise|s'y|peut|a|est (?:bon|dispo|libre))|"
    r"je (?:cherche|recherche|veux|voudrais)|il (?:me|nous) faut|j'ai besoin|peux[ -]tu|pouvez|"
    r"(?:est-ce que )?(?:tu|vous|t'|on) ?(?:sais|peux|connais|as|aurais|vois|a|cherche|savez|avez|"
    r"auriez|connaissez)|dis[ -]moi|dites[ -]moi|une question)\b"
)
# « Est-ce que Paul connaît … », « Paul, est-ce qu'il … », « si Paul est bon en … »
_KNOWS = regex.compile(
    r"\s*,?\s*(?:(?:est[ -]ce qu'?\s?|et )?(?:il|elle)\s+)?(?:(?:ne|n'|en|y|s'y|s')\s*)*"
    r"(?:conn?ai|sai[ts]?\b|maitris|ger|fai[ts]?\b|touche|code|programme|developpe|pratique|utilise"
    r"|travaille|bosse|parle|peut|pourrait|serait|sera\b|est\b|vaut|a\b)"
)
# Between a person and a skill they tell that the question is about somebody else.
_OTHERS = word_set("qui ki quel quelle quels quelles quelqu qqn cherche recherche faut faudrait")
_SINCE = regex.compile(r"\bdepuis\s+(?:l[ae]s?\s+|l'|ce\s+)?\Z")
# Not a « non ? » that asks for agreement.
_NOT_THAT = regex.compile(r"\s*,?\s*(?:non|(?<!,)exclue?s?|(?<!,)exceptee?s?)\s*(?:[.,;!]|\Z)")
_COURTESY = regex.compile(r"(?i)\b(?:[a-z]\.|(?:m|mme|mr|mlle|monsieur|madame|mademoiselle)\b\.?)")
# What may stand between a name and what its bearer asks: « (Carrefour) », « , de chez Orange, ».
_APPOSITION = regex.compile(
    r"\s*(?:\([^)?\n]{1,40}\)?|,[^,?.\n]{1,40},|,|(?:de )?chez [^,?.\n]{1,30},?)?\s*"
)
_COMPANY = regex.compile(r",\s*(?:du|de la|de chez|de l'|des|chez)\s*[^,.:;?!\n]{2,40}(?=[,:;\n])")
# Roles of people who are not looked for.
_ABSENT = ("addressee", "author", "client")
_OF_AGENCY = word_set("de du d l agence la")
# Words of a signature below the name.
_SIGNATURE = 12
# A sentence that asks for people, and one that begins as a question of its own.
_ASKS = regex.compile(
    r"\b(?:(?:savoir|on a|tu as|vois|connais) qui|quelqu'un|qqn|kelkun|cherch\w+|recherch\w+|"
    r"besoin|faut|faudrait|trouv\w+|propos\w+|"
    r"conn?ai\w+|veu[xt]|voudr\w+|souhait\w+|demand\w+|reclam\w+|avez|aurai\w*|auri\w+|as-tu)\b"
)
_QUESTION = regex.compile(
    r"\W*(?:et |donc |alors |bref |du coup )?,?\s*(?:qui|ki|a qui|quel|quelqu'un|vers qui|"
    r"tu (?:connais|as|vois)|on a qui|(?:avez|auriez|connaissez)[ -]vous|as[ -]tu|"
    r"(?:savez|sais|peux)[ -](?:vous|tu))\b"
)
_PRONOUN = regex.compile(r"(?i)-(?:le|la|les)\b|\s+(?:elle|lui)\b(?!-)")
_REASON = regex.compile(
    r"\s*,?\s*\(?(?:(?:car|puisqu'|parce qu'|vu qu')\s?)?(?:il|elle|ils|elles)\s"
    r"(?!(?:me|nous|faut|faudrait|y|doit|doivent)\b)[^,.;?!)\n]*"
)
_SENTENCE_END = regex.compile(r"[.;?!\n]")
_CLAUSE_END = regex.compile(r"[,.;?!\n]")


@dataclass
class Found:
    """An entity on its way; ``source`` is the dictionary that it comes from."""

    kind: str
    start: int
    end: int
    value: str
    role: str | None = None
    group: str | None = None
    source: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, entity: dict[str, Any]) -> Found:
        """Read one of Rasa's dictionaries."""
        return cls(
            entity[ENTITY_ATTRIBUTE_TYPE],
            entity[ENTITY_ATTRIBUTE_START],
            entity[ENTITY_ATTRIBUTE_END],
            entity[ENTITY_ATTRIBUTE_VALUE],
            entity.get(ENTITY_ATTRIBUTE_ROLE),
            entity.get(ENTITY_ATTRIBUTE_GROUP),
            entity,
        )

    def to_rasa(self) -> dict[str, Any]:
        """Return the entity as Rasa's dictionary."""
        entity = {
            ENTITY_ATTRIBUTE_CONFIDENCE_TYPE: 1.0,
            **self.source,
            ENTITY_ATTRIBUTE_TYPE: self.kind,
            ENTITY_ATTRIBUTE_START: self.start,
            ENTITY_ATTRIBUTE_END: self.end,
            ENTITY_ATTRIBUTE_VALUE: self.value,
            ENTITY_ATTRIBUTE_ROLE: self.role,
            ENTITY_ATTRIBUTE_GROUP: self.group,
        }
        return {key: value for key, value in entity.items() if value is not None}

    def touches(self, start: int, end: int) -> bool:
        """Whether it shares a character with ``text[start:end]``."""
        return start < self.end and self.start < end


class Cue(NamedTuple):
    """Words that are no entity and say what becomes of one: « sauf », « pour le client »."""

    start: int
    end: int
    kind: str


class Word(NamedTuple):
    """A word of the text, and its key in the lexicon."""

    start: int
    end: int
    key: str


class Scope:
    """Sets the roles and groups of the entities of one text.

    Args:
        text: as the user typed it.
        entities: in order; an exclusion may take one away, a client may come.
        cues: what the patterns found.
    """

    def __init__(self, text: str, entities: Sequence[Found], cues: Sequence[Cue]) -> None:
        self.text = text
        self.entities = list(entities)
        self.cues = sorted(cues)
        # Spans of which nothing more needs to be understood.
        self.covered: list[tuple[int, int]] = []
        self.words = [
            Word(start, end, word_key(text[start:end])) for start, end in token_spans(text)
        ]

    def resolve(self, is_ordinary: Callable[[str], bool]) -> list[Found]:
        """Return the entities with their roles and groups, in order.

        Args:
            is_ordinary: whether a word's key is one that questions are made of.
        """
        self._leave_out_idioms()
        self._correct()
        self._set_people()
        self._set_askers()
        self._set_context()
        for cue in self._cues("product"):
            # « du PHP pour un site e-commerce »
            topics = [e for e in self._inside(cue.end, cue.end + 8) if e.kind == "topic"]
            if topics and any(e.kind in (*_QUALIFIED, "job_title") for e in self.entities):
                topics[0].role = "context"
        for cue in self._cues("client"):
            self._add_client(cue, is_ordinary)
        for cue in self._cues("for"):
            heads = [e for e in self.entities if e.kind in (*_QUALIFIED, "job_title", "family")]
            if any(not e.touches(cue.end, cue.end + 2) for e in heads):
                self._add_client(cue, is_ordinary)
        if any(self._is_subject(entity) for entity in self.entities):
            # « Est-ce que Paul connaît Java ? » opens as a question about people does.
            self.entities = [e for e in self.entities if (e.kind, e.value) != ("ask", "people")]
        self._set_dates()
        self._exclude()
        self._group()
        return self.entities

    # --- looking around ---

    def _cues(self, *kinds: str) -> list[Cue]:
        return [cue for cue in self.cues if cue.kind in kinds]

    def _inside(self, start: int, end: int) -> list[Found]:
        """The entities that begin in ``text[start:end]``."""
        return [entity for entity in self.entities if start <= entity.start < end]

    def _free(self, start: int, end: int) -> list[Word]:
        """The words in ``text[start:end]`` that belong to no entity."""
        inner = self._inside(start, end)
        return [
            word
            for word in self.words
            if start <= word.start < end and not any(e.touches(word.start, word.end) for e in inner)
        ]

    def _only(self, allowed: Collection[str], start: int, end: int) -> bool:
        return all(word.key in allowed for word in self._free(start, end))

    def _leave_out(self, *dropped: Found) -> None:
        self.entities = [entity for entity in self.entities if entity not in dropped]

    # --- what is no name, or was taken back ---

    def _leave_out_idioms(self) -> None:
        for cue in self._cues("idiom"):
            self._leave_out(*(e for e in self.entities if cue.start <= e.start < e.end <= cue.end))
        for cue in self._cues("meeting"):
            dates = (e for e in self._inside(cue.start, cue.end) if e.kind == "date")
            self._leave_out(*dates)
        for cue in self._cues("courtesy"):
            # « Madame Toulouse »
            for entity in self._inside(cue.end, cue.end + 3):
                if entity.kind == "agency" and not self.text[cue.end : entity.start].strip(" ."):
                    value = self.text[entity.start : entity.end]
                    entity.kind, entity.value, entity.source = "person", value, {}

    def _correct(self) -> None:
        """« À Lyon, euh non à Paris »: what was taken back at once does not count."""
        for cue in self._cues("corrected"):
            before = [e for e in self.entities if e.end <= cue.start and e.kind in _SLOTS]
            after = [e for e in self.entities if e.start >= cue.end and e.kind in _SLOTS]
            if (
                before
                and after
                and _SLOTS[before[-1].kind] == _SLOTS[after[0].kind]
                and self._only(_SMALL, before[-1].end, cue.start)
                and self._only(_SMALL, cue.end, after[0].start)
                and not _SENTENCE_END.search(self.text, cue.end, after[0].start)
                and not any(word.key == "oui" for word in self.words)
            ):
                self._leave_out(before[-1])

    # --- people and dates ---

    def _set_people(self) -> None:
        last = self.words[-1].end if self.words else 0
        for person in self.entities:
            if person.kind != "person":
                continue
            after = fold(self.text[person.end :])
            ends, begins = person.end >= last, not self.text[: person.start].strip()
            for cue in self._cues("author", "speaker", "addressee"):
                gap = _COURTESY.sub("", self.text[cue.end : person.start])
                if cue.end > person.start or gap.strip(" \t\n,.!:—–-"):
                    continue
                signs = cue.kind == "author" and (
                    self._ends_message(person) or after.startswith("\n")
                )
                if signs or (cue.kind == "speaker" and not self._is_subject(person)):
                    person.role = "author"
                elif cue.kind == "addressee" and not gap.strip() and not _ASKED_ABOUT.match(after):
                    person.role = person.role or "addressee"
            if begins and _VOCATIVE.match(after):
                person.role = "addressee"
            elif ends and self._is_signature(person):
                person.role = person.role or "author"
        for one, other in pairwise([e for e in self.entities if e.kind == "person"]):
            # « déjeuné avec Ousmane et Awa »
            if one.role == "author" and other.role is None:
                joined = regex.fullmatch(r"\s*(?:,|et)\s+", fold(self.text[one.end : other.start]))
                other.role = "author" if joined else None
        asked = any(
            e.kind in _SLOTS or (e.kind == "ask" and e.value != "people") for e in self.entities
        )
        for cue in self._cues("asks") if asked else ():
            # « Marion m'a demandé … », « Julien (Carrefour) cherche … »
            before = [e for e in self.entities if e.end <= cue.start and e.kind == "person"]
            apposition = self.text[before[-1].end : cue.start] if before else "?"
            if before and before[-1].role is None and _APPOSITION.fullmatch(apposition):
                before[-1].role = "author"
                self.covered.append((before[-1].end, cue.start))
        for person in [e for e in self.entities if e.role in _ABSENT]:
            # « ici Nicolas, de l'agence de Lyon »: his own
            places = (
                e
                for e in self._inside(person.end, len(self.text))
                if e.kind == "agency"
                and self._only(_OF_AGENCY, person.end, e.start)
                and not _SENTENCE_END.search(self.text, person.end, e.start)
            )
            self._leave_out(*[*places][:1])
        for person in [e for e in self.entities if e.role in _ABSENT]:
            # « Mme Fabre, du Crédit Agricole : »
            company = _COMPANY.match(self.text, person.end)
            if company and any(cue.end <= person.start for cue in self._cues("speaker")):
                self._leave_out(*self._inside(*company.span()))
                self.covered.append(company.span())
        for cue in self._cues("speaker"):
            # « Ma directrice Claire Morel voudrait … »: her title is no one that is looked for.
            behind = [e.start for e in self.entities if e.role == "author"]
            behind += [other.start for other in self._cues("asks")]
            if any(
                not self.text[cue.end : start].strip(" ,.") for start in behind if start >= cue.end
            ):
                self._leave_out(
                    *(e for e in self._inside(cue.start, cue.end) if e.kind == "job_title")
                )

    def _set_askers(self) -> None:
        """« Une banque lyonnaise veut … »: whatever describes who asks is no demand."""

        def asking(words: Sequence[Word]) -> bool:
            return any(word.key in _ASKING for word in words)

        for cue in self._cues("asks"):
            before = self.text[: cue.start]
            start = max(
                (m.end() for m in regex.finditer(r"[;?!\n:]|(?<!\b[Mm])\.", before)), default=0
            )
            commas = [m.end() for m in regex.finditer(",", before) if m.end() > start]
            for begin in [start, *commas]:
                words = [word for word in self.words if begin <= word.start < cue.start]
                if words and words[0].key in _DETERMINERS and not asking(words):
                    break
            else:
                continue
            after = self._inside(cue.end, len(self.text))
            if any(e.kind in _SLOTS and e.kind != "agency" for e in after):
                self._take_as_context(begin, cue.start)
                for entity in self._inside(begin, cue.start):
                    if entity.kind == "person":
                        entity.role = entity.role or "author"
                    elif entity.role == "context" and is_guess(entity):
                        self._leave_out(entity)  # their company
                self.covered.append((begin, cue.end))

    def _set_context(self) -> None:
        """« Le client est une banque. Qui connaît Java ? »: what is told before it is asked."""
        ends = [match.end() for match in _SENTENCE_END.finditer(self.text)]
        sentences = list(pairwise([0, *ends, len(self.text)]))
        folded = [fold(self.text[start:end]) for start, end in sentences]
        asking = [bool(_QUESTION.match(text)) for text in folded]
        questions = [i for i, text in enumerate(folded) if asking[i] or _ASKS.search(text)]
        if not questions:
            return
        last = questions[-1]
        # « Projet Java. Il faut aussi du Kafka. » asks for both.
        kinds = (*_QUALIFIED, "topic") if asking[last] else ("topic",)
        while last and not any(
            e.kind in _QUALIFIED or e.kind == "job_title" for e in self._inside(*sentences[last])
        ):
            last -= 1
            if not (asking[last] or _ASKS.search(folded[last])):
                kinds = ("topic",)  # « - Java\n- Kafka\nQui convient ? » asks for what it lists
        for index, (start, end) in enumerate(sentences[:last]):
            if not (asking[index] or _ASKS.search(folded[index])):
                self._take_as_context(start, end, kinds)

    def _take_as_context(
        self, start: int, end: int, kinds: Collection[str] = (*_QUALIFIED, "topic")
    ) -> None:
        for entity in self._inside(start, end):
            if entity.kind in kinds:
                entity.role = "context"
            elif entity.kind == "job_title" and "technology" in kinds:
                self._leave_out(entity)

    def _ends_message(self, person: Found) -> bool:
        """Whether only more lines of a signature follow ``person``; none of them counts."""
        rest = self.text[person.end :]
        words = sum(word.start >= person.end for word in self.words)
        if words and (words > _SIGNATURE or "?" in rest or not rest.lstrip(" ").startswith("\n")):
            return False
        self._leave_out(*self._inside(person.end, len(self.text)))
        self.covered.append((person.end, len(self.text)))
        return True

    def _is_signature(self, person: Found) -> bool:
        """Whether a name stands in a line of its own, below what was asked."""
        below = self.text[: person.start].rstrip(" \t,—–-").endswith("\n")
        asked = any(e.kind in (*_SLOTS, "detail") for e in self._inside(0, person.start))
        return below and asked and "?" not in self.text[person.end :]

    def _is_subject(self, person: Found) -> bool:
        """Whether it is a person of whom is asked what they know, or are."""
        if (person.kind, person.role) != ("person", None):
            return False
        start = person.end
        for place in self.entities:  # « Paul, de Lyon, »
            if (
                place.kind == "agency"
                and place.start > start
                and self._only(_SMALL, start, place.start)
            ):
                start = place.end
        verb = _KNOWS.match(fold(self.text[start:]))
        if verb is None:
            return False
        sentence = _SENTENCE_END.search(self.text, start)
        end = sentence.start() if sentence else len(self.text)
        said = [e.start for e in self._inside(start, end) if e.kind in (*_SLOTS, "detail")]
        others = (word.key in _OTHERS for word in self._free(start + verb.end(), end))
        return bool(said) and not any(others)

    def _add_client(self, cue: Cue, is_ordinary: Callable[[str], bool]) -> None:
        """Find the company named right behind a cue such as « pour le client »."""
        behind = [word for word in self.words if word.start >= cue.end]
        if not behind or self.text[cue.end : behind[0].start].strip(' :«"'):
            return
        start, end, key = behind[0]
        known = next((e for e in self.entities if e.touches(start, end)), None)
        weak = cue.kind == "for"
        if weak and any(c.start <= cue.start < c.end for c in self._cues("speaker")):
            return
        if known is not None:
            if known.kind not in ("person", "technology") or known.start != start:
                return
            if ":" in self.text[cue.start : start] and known.kind == "technology":
                return  # « stack du client : Python »
            # « pour Docker » and « pour Paul » may be what is asked
            certain = known.source.get(EXTRACTOR) == "GazetteerEntityExtractor"
            asks = any(e.kind in ("ask", "detail") and e.value != "people" for e in self.entities)
            if weak and (certain if known.kind == "technology" else asks or known.role):
                return
            end = known.end
        else:
            said = fold(self.text[cue.start : cue.end]).rstrip(" :")
            named = weak or said.endswith(("client", "societe"))
            is_name = self.text[start].isupper() and not (weak and is_ordinary(key))
            if weak and not self.text[start].isupper() and key.endswith(("er", "ir", "re")):
                return  # « pour fiabiliser … »
            if key in _NOBODY or not (is_name or (named and not is_ordinary(key))):
                return
            for word in behind[1:3]:
                if self.text[end : word.start].strip(" &-") or not self.text[word.start].isupper():
                    break
                end = word.end
        self.entities = [e for e in self.entities if not e.touches(start, end)]
        # « chez Airbus à Blagnac »: where they are
        place = [e for e in self._inside(end, end + 4) if is_guess(e) and e.kind == "technology"]
        if place and fold(self.text[end : place[0].start]).strip() == "a":
            self.covered.append((place[0].start, place[0].end))
            self._leave_out(*place[:1])
        self.entities.append(Found("person", start, end, self.text[start:end], "client"))
        self.entities.sort(key=lambda entity: entity.start)

    def _set_dates(self) -> None:
        # « depuis lundi » says nothing of when somebody is free.
        self.entities = [
            entity
            for entity in self.entities
            if entity.kind != "date" or not _SINCE.search(fold(self.text[: entity.start]))
        ]
        for date in self.entities:
            for cue in self._cues("before", "from", "after"):
                if date.kind == "date" and cue.end <= date.start:
                    between = regex.split(r"[\s']+", fold(self.text[cue.end : date.start]))
                    if all(word in _BEFORE_DATE for word in between if word):
                        date.role = cue.kind
                        break  # « d'ici au » is no « au »

    # --- what is excluded ---

    def _exclude(self) -> None:
        kept = self._cues("kept")
        # « non, pas lui » is one correction.
        changes = [e for e in self.entities if e.kind == "change" and e.value != "drop"]
        cues = kept + [
            cue
            for cue in self._cues("excluded")
            if not any(cue.start < other.end and other.start < cue.end for other in kept)
            and not any(e.start <= cue.start and cue.end <= e.end for e in changes)
        ]
        at: int | None = None  # how far the exclusion has come
        reached: str | None = None  # the slot of what it has excluded
        first = ""  # the last word of what excludes
        events: list[Cue | Found] = [*cues, *self.entities]
        for event in sorted(events, key=lambda event: (event.start, isinstance(event, Found))):
            if isinstance(event, Cue):
                word = fold(self.text[event.start : event.end]).split()[-1]
                # « sauf s'il n'est pas libre » wants those who are.
                twice = at is not None and reached is None and first not in _NOTS and word in _NOTS
                twice = twice and not _CLAUSE_END.search(self.text, at or 0, event.start)
                at, reached = (event.end, None) if event.kind == "excluded" else (None, None)
                at, first = None if twice else at, word
                continue
            if at is None or event.start < at:
                continue
            slot = EXCLUDABLE.get(event.kind)
            if _SENTENCE_END.search(self.text, at, event.start):
                at = None
            elif reached is None:
                if not self._reaches(at, event.start):
                    at = None
                elif event.kind == "level":
                    _invert(event)
                    at, reached = event.end, "level"
                elif event.kind == "detail" and event.value != "availability":
                    at = None
                elif slot and event.role in (None, "client"):
                    event.role = "excluded"
                    at, reached = event.end, slot
                # Others stand in between: « pas ceux de Lyon ».
            elif slot == reached and self._goes_on(at, event.start):
                event.role = "excluded"
                at = event.end
            else:
                at = None
        for one, other in pairwise(list(self.entities)):
            # « pas de dev PHP » excludes PHP, not every developer.
            if (
                (one.kind, one.role) == ("job_title", "excluded")
                and other.kind in _QUALIFIED
                and "," not in self.text[one.end : other.start]
                and self._only(_SMALL, one.end, other.start)
            ):
                other.role = "excluded"
                self.entities.remove(one)
        for cue in self._cues("excluded_before"):
            # « les architectes, j'en veux pas »
            before = [e for e in self.entities if e.end <= cue.start]
            if (
                before
                and not _SENTENCE_END.search(self.text, before[-1].end, cue.start)
                and self._only(_SMALL, before[-1].end, cue.start)
            ):
                if before[-1].kind == "date":
                    self._leave_out(before[-1])
                elif before[-1].kind in EXCLUDABLE and before[-1].kind != "detail":
                    before[-1].role = "excluded"
        for cue in self._cues("excluded"):
            # « Hormis elle », « enlevez-le »: whom or what was said before
            pronoun = _PRONOUN.match(self.text, cue.end)
            if pronoun is None:
                continue
            said = pronoun[0].strip()
            people = ("person",) if said.lower() in ("elle", "lui") else tuple(EXCLUDABLE)
            before = [e for e in self.entities if e.end <= cue.start and e.kind in people]
            if before:
                before[-1].role = "excluded"
            elif people == ("person",):
                self._leave_out(*self._inside(cue.end, pronoun.end()))
                start = pronoun.end() - len(said)
                self.entities.append(Found("reference", start, pronoun.end(), said, "excluded"))
                self.entities.sort(key=lambda entity: entity.start)
        for person in [e for e in self.entities if (e.kind, e.role) == ("person", "excluded")]:
            # « pas Paul, il est pris en mars »: why he is left out
            folded, offsets = fold_aligned(self.text[person.end :])
            if reason := _REASON.match(folded):
                span = person.end, person.end + offsets[reason.end() - 1] + 1
                inner = self._inside(*span)
                self._leave_out(
                    *(e for e in inner if e.kind == "date" or e.value == "availability")
                )
                self.covered.append(span)
        for entity in self.entities:
            # « Docker oui, Kubernetes non »
            if entity.kind in _SLOTS and _NOT_THAT.match(fold(self.text[entity.end :][:12])):
                entity.role = "excluded"

    def _goes_on(self, start: int, end: int) -> bool:
        """Whether a list of what is excluded goes on: not at « …, du Java », « … par Java »."""
        keys = {word.key for word in self._free(start, end)}
        if ":" in self.text[start:end] or keys & {"par", "contre"}:
            return False
        opens = bool(keys) and keys <= _PARTITIVES and "," in self.text[start:end]
        return keys <= _LIST and not opens

    def _reaches(self, start: int, end: int) -> bool:
        """Whether an exclusion goes on up to the first name."""
        keys = [word.key for word in self._free(start, end)]
        before = ["", *keys]
        if "," in self.text[start:end] and keys:
            return False
        return len(keys) <= _REACH and not any(
            key in _ENDS and not (key == "qui" and last in _ANTECEDENTS)
            for last, key in zip(before, keys, strict=False)
        )

    # --- alternatives ---

    def _group(self) -> None:
        groups: list[list[Found]] = []
        positive = [e for e in self.entities if e.role not in ("excluded", "context")]
        for cue in self._cues("examples"):
            # « un framework JS, genre Vue ou React »: the family, or what it has for examples
            before = [e for e in positive if e.end <= cue.start and _SLOTS.get(e.kind) == "skill"]
            group = [e for e in positive if e.start >= cue.end and _SLOTS.get(e.kind) == "skill"]
            near = self.text[before[-1].end : cue.start] if before else ""
            if before and group and before[-1].kind == "family" and not _SENTENCE_END.search(near):
                groups.append([before[-1], *group])
                positive = [e for e in positive if not any(e is one for one in groups[-1])]
        for slot in ("skill", "topic"):
            groups += self._alternatives([e for e in positive if _SLOTS.get(e.kind) == slot])
        agencies = [entity for entity in positive if entity.kind == "agency"]
        if len({agency.value for agency in agencies}) > 1:
            groups.append(agencies)  # nobody works in two towns
        self._bind_levels([e for e in positive if e.kind in _QUALIFIED], groups)
        groups.sort(key=lambda group: min(entity.start for entity in group))
        for number, group in enumerate(groups, start=1):
            for entity in group:
                entity.group = str(number)

    def _link(self, one: Found, other: Found) -> str:
        """How two entities are joined: ``or``, ``and``, ``comma``, ``next`` or not at all."""
        gap = self.text[one.end : other.start]
        if _SENTENCE_END.search(gap) or any(
            entity.kind != "level" for entity in self._inside(one.end, other.start)
        ):
            return ""
        words = self._free(one.end, other.start)
        keys = {word.key for word in words}
        # Folded, « où » is « ou ».
        if any(w.key in _OR and self.text[w.start : w.end].lower() != "où" for w in words):
            return "or" if len(words) <= _REACH and "mais" not in keys else ""
        if self._cues("either") and keys <= _SMALL | _AND and regex.search("[,/]", gap):
            return "or"  # « Flask / Django, peu importe »
        if keys <= _SMALL:
            return "comma" if "," in gap else "and" if regex.search("[+&/]", gap) else "next"
        return "and" if keys <= _SMALL | _AND else ""

    def _alternatives(self, members: Sequence[Found]) -> list[list[Found]]:
        """Return the groups among entities of one slot."""
        links = [self._link(one, other) for one, other in pairwise(members)]
        for index in reversed(range(len(links))):
            if links[index] == "comma":
                # A comma is what the next link is: « Java, Kotlin ou Scala ».
                following = next((link for link in links[index + 1 :] if link != "next"), "")
                links[index] = "or" if following == "or" else "and"
        runs: list[list[list[Found]]] = []  # alternatives, each of what stands side by side
        for member, link in zip(members, ["", *links], strict=False):
            if link == "next":
                runs[-1][-1].append(member)
            elif link == "or" or (link == "and" and self._are_titles([*runs[-1][-1], member])):
                runs[-1].append([member])
            else:
                runs.append([[member]])
        return [group for run in runs if len(run) > 1 for group in _groups_of(run)]

    def _are_titles(self, entities: Sequence[Found]) -> bool:
        """« les testeurs et les data engineers »: nobody is both, so either is meant."""
        return len(entities) == 2 and all(
            entity.kind == "job_title" and self.text[entity.end - 1] in "sSxX"
            for entity in entities
        )

    # --- levels ---

    def _bind_levels(self, skills: Sequence[Found], groups: list[list[Found]]) -> None:
        """Join each level to the skill beside it; one beside a list is of all of them."""
        levels = [entity for entity in self.entities if entity.kind == "level"]
        for level in levels:
            index = self._qualified(level, skills)
            if index is None:
                continue
            first = last = index
            while first and self._link(*skills[first - 1 : first + 1]) in ("and", "comma"):
                first -= 1
            while skills[last + 1 :] and self._link(*skills[last : last + 2]) in ("and", "comma"):
                last += 1
            outside = level.start < skills[first].start or level.start > skills[last].start
            if first != last and outside and len(levels) == 1:
                continue
            group = next(
                (group for group in groups if any(e is skills[index] for e in group)), None
            )
            if group is None:
                groups.append([skills[index], level])
            else:
                group.append(level)

    def _qualified(self, level: Found, skills: Sequence[Found]) -> int | None:
        """The index of the skill that stands beside ``level``."""
        before = [i for i, skill in enumerate(skills) if skill.end <= level.start][-1:]
        after = [i for i, skill in enumerate(skills) if skill.start >= level.end][:1]
        before = [i for i in before if self._is_beside(skills[i], level)]
        after = [i for i in after if self._is_beside(level, skills[i])]
        if before and after and regex.match(r"\s+(?:en|sur|de|d)\b", fold(self.text[level.end :])):
            before = []
        return next(iter(before + after), None)

    def _is_beside(self, one: Found, other: Found) -> bool:
        """Whether nothing but small words, titles and other levels stands between the two."""
        return (
            not _CLAUSE_END.search(self.text, one.end, other.start)
            and all(e.kind in ("level", "job_title") for e in self._inside(one.end, other.start))
            and self._only(_BESIDE, one.end, other.start)
        )


def is_guess(name: Found) -> bool:
    """Whether a name was found by its context alone."""
    return name.kind in _GUESSED and name.source.get(EXTRACTOR) != "GazetteerEntityExtractor"


def _invert(level: Found) -> None:
    """« pas de junior » asks for level 3 at least, « pas d'expert » for 3 at most."""
    value = int(level.value)
    if level.role == "maximum" and value < 5:
        level.value, level.role = str(value + 1), "minimum"
    elif level.role == "minimum" and value > 1:
        level.value, level.role = str(value - 1), "maximum"


def _groups_of(run: Sequence[Sequence[Found]]) -> list[list[Found]]:
    """Return what is alternative in « un dev React ou un architecte Angular »: titles, and skills.

    « un dev front ou du Vue » has them mixed: what stands next to the « ou » is alternative.
    """
    titles = [entity for cluster in run for entity in cluster if entity.kind == "job_title"]
    skills = [[entity for entity in cluster if entity.kind != "job_title"] for cluster in run]
    groups = []
    if all(skills):
        groups.append([skills[0][-1], *(some[0] for some in skills[1:])])
    elif any(skills) or len(titles) != len(run):
        return [[run[0][-1], *(cluster[0] for cluster in run[1:])]]
    if len({title.value for title in titles}) > 1:
        groups.append(titles)
    return groups
