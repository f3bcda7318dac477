"""Finds what a question demands besides names: levels, dates, numbers, exclusions, alternatives."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import regex
from rapidfuzz import process
from rapidfuzz.distance import OSA
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.extractors.extractor import EntityExtractorMixin
from rasa.shared.constants import INTENT_MESSAGE_PREFIX
from rasa.shared.nlu.constants import ENTITIES, EXTRACTOR, INTENT, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from common.config import Rule, integer, optional
from common.text import fold_aligned
from components.component import TrainableComponent, TrainingError, source_fingerprint
from components.lexicon import commonest_words, typo_budget, word_key, word_list_path, word_set
from components.scope import EXCLUDABLE, Cue, Found, Scope, Word, is_guess
from components.tokenizer import token_spans

logger = logging.getLogger(__name__)

_FORMAT = 1

# The name of a pattern: `entity`, `entity=value`, `entity=value/role`; `?`: others go first.
_NAME = regex.compile(r"(?P<entity>\w+)(?:=(?P<value>[\w+-]+))?(?:/(?P<role>\w+))?(?P<weak>\?)?")
_PART = regex.compile(r"<([A-Z]+)>")
_CUE = "cue"

# « Envoyez-moi » asks, whatever the verb.
_IMPERATIVE = regex.compile("(?i)-(?:moi|nous)$")
# Between several people that were taken for one.
_BETWEEN = regex.compile(r"\s+(?:ni|et|ou)\s+|\s*[:;«»>\n]+\s*")

_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ["un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix"], start=1
    )
} | {"une": "1", "douze": "12", "quinze": "15", "vingt": "20", "trente": "30"}

# Words that demand nothing: articles, pronouns, prepositions, auxiliaries, politeness.
_FUNCTION_WORDS = word_set(
    "a afin ai aie ait alors ainsi apres as au aucun aucune aujourd aussi autre autres aux avais "
    "avait avant avec avez avoir avons ayant bah beaucoup ben besoin bien bon bonne bonjour bref c "
    "bonsoir ca car ce ceci cela celle celles celui ces cet cette ceux chacun chaque chez ci comme "
    "comment cordialement d dans de deja depuis des desormais dire dis dit dois doit donc donne du "
    "dont durant elle elles en encore entre es est et etaient etait etant ete etes etre eu eux fin "
    "faire fais fait faites faut font grace hello il ils j je jusqu juste l la laquelle le lequel "
    "les leur leurs lors lorsque lui m ma mais me meme memes merci mes mien moi moins mon n ne ni "
    "non nos notre nous on ont ou oui par parce parmi pas pendant peu peut peux peuvent plait plus "
    "plutot pour pourquoi pouvoir pouvez pourrait pourriez pourrais presque puis puisque qu quand "
    "que quel quelle quelles quels quelqu quelque quelques qui quoi rien s sa sais salut sans sauf "
    "savez savoir se sera seront ses si sinon soit sommes son sont sous stp suis sur svp t ta tant "
    "te tel telle tes toi ton toujours tout toute toutes tous tres trop tu un une uns va vais vas "
    "finalement pendant conges idealement obligatoire obligatoirement souhaite souhaitee "
    "souhaitable imperatif imperativement preference possible exige requis apprecie "
    "fournir fournit procurer concretement exactement precisement "
    "vers veux veut via voici voila voir vont vos votre vous vrai y etc ok euh hein ah oh"
)


# What « sauf si … » may consist of besides names.
_COPULAS = word_set(
    "si s il elle ils elles est sont c ce n ne pas deja quelqu quelquun un une a au en sur dans "
    "qui de du la le les l connait connaissent fait font habite travaille travaillent avant"
)


class _Pattern(NamedTuple):
    entity: str
    value: str | None
    role: str | None
    is_weak: bool
    expression: regex.Pattern[str]


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.ENTITY_EXTRACTOR, is_trainable=True)
class ConstraintExtractor(TrainableComponent, EntityExtractorMixin):
    """Finds constraints by pattern, and sets ``role`` and ``group`` of all entities.

    It comes after the other extractors and does not look at the intent. Its patterns are the
    ``regex`` entries of the training data (``data/constraints.yml``). What stands around an entity
    tells its role and group, see :mod:`components.scope`. Words of weight that nothing covers
    become an ``unknown``, so that an answer can say what it leaves out.
    """

    FILES = ("constraints.json",)
    RULES: ClassVar[Mapping[str, Rule]] = {
        "common_words": integer(0),
        "max_characters": optional(integer(1)),
    }

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """Return the defaults."""
        return {
            # The most frequent French words, which are never unknown.
            "common_words": 2500,
            # Text after that is not looked at (None: no limit).
            "max_characters": 1000,
        }

    def __init__(
        self, config: dict[str, Any], model_storage: ModelStorage, resource: Resource
    ) -> None:
        """Create an untrained extractor (see parent class)."""
        super().__init__(config, model_storage, resource)
        self._patterns: list[_Pattern] = []
        # Keys of the words that questions are made of, by their first letter.
        self._ordinary: Mapping[str, frozenset[str]] = {}

    @classmethod
    def fingerprint_addon(cls, config: dict[str, Any]) -> str | None:
        """Return a digest of the helper modules, and of whether there is a list of words."""
        return source_fingerprint(
            __name__,
            "common.text",
            "components.lexicon",
            "components.scope",
            "components.tokenizer",
            facts=(word_list_path() is None,),
        )

    def train(self, training_data: TrainingData) -> Resource:
        """Take up the patterns, and the words that questions are made of.

        Raises:
            TrainingError: a pattern is no regular expression, or its name cannot be read.
        """
        patterns = [(item["name"], item["pattern"]) for item in training_data.regex_features]
        common = commonest_words(self.config["common_words"])
        ordinary = sorted(_ordinary_words(training_data) | common)
        self._use(patterns, ordinary)
        data = {"format": _FORMAT, "patterns": patterns, "ordinary": ordinary}
        text = json.dumps(data, ensure_ascii=False, indent=0)
        with self._model_storage.write_to(self._resource) as directory:
            (directory / self.FILES[0]).write_text(text, encoding="utf-8")
        return self._resource

    def _read(self, folder: Path) -> None:
        data = json.loads((folder / self.FILES[0]).read_text(encoding="utf-8"))
        if data["format"] != _FORMAT:
            raise ValueError(f"format {data['format']}, this version reads {_FORMAT}")
        self._use([(name, pattern) for name, pattern in data["patterns"]], data["ordinary"])

    def _nothing_stored(self) -> None:
        raise self._damaged("it is missing")

    def _use(self, patterns: Sequence[tuple[str, str]], ordinary: Iterable[str]) -> None:
        self._patterns = _compiled(patterns)
        by_letter: dict[str, set[str]] = defaultdict(set)
        for word in ordinary:
            by_letter[word[:1]].add(word)
        self._ordinary = {letter: frozenset(words) for letter, words in by_letter.items()}

    def process(self, messages: list[Message]) -> list[Message]:
        """Set the entities of each message; never raises."""
        for message in messages:
            text = message.get(TEXT)
            # RegexMessageHandler reads the entities of a button's payload.
            if not isinstance(text, str) or not text or text.startswith(INTENT_MESSAGE_PREFIX):
                continue
            try:
                entities = self.extract(text, message.get(ENTITIES) or [])
            except Exception:
                logger.exception("%s could not read a message.", self.name)
            else:
                message.set(ENTITIES, entities, add_to_output=True)
        return messages

    def extract(self, text: str, earlier: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
        """Return the entities of ``text``, in order.

        Args:
            text: as the user typed it; offsets refer to it.
            earlier: what earlier extractors found in it.
        """
        head = text[: self.config["max_characters"]]
        known = [Found.of(entity) for entity in earlier]
        found, covered = self._matches(head)
        merged = _merged(known, found)
        scope = Scope(head, merged, found.cues)
        entities = scope.resolve(self._is_ordinary)
        covered += [(entity.start, entity.end) for entity in [*merged, *entities]]
        covered += scope.covered
        entities += self._unknown(head, scope.words, covered)
        entities.sort(key=lambda entity: entity.start)
        return [{EXTRACTOR: self.name, **entity.to_rasa()} for entity in entities]

    def _matches(self, text: str) -> tuple[_Matches, list[tuple[int, int]]]:
        """Return what the patterns find, and the spans of all that they match."""
        folded, offsets = fold_aligned(text)
        offsets.append(len(text))
        found, covered = _Matches([], [], []), []
        starts = {start for start, _ in token_spans(text)}
        for pattern in self._patterns:
            for match in pattern.expression.finditer(folded):
                groups = match.groupdict()
                first, last = match.span("span" if groups.get("span") else 0)
                # Some take in the blank beside them.
                last -= len(folded[first:last]) - len(folded[first:last].rstrip())
                # « Prud'homme » is one word, and no man.
                if first >= last or (offsets[first] not in starts and folded[first].isalpha()):
                    continue
                covered.append((offsets[match.start()], offsets[match.end()]))
                start, end = offsets[first], offsets[last]
                if pattern.entity == _CUE:
                    found.cues.append(Cue(start, end, pattern.value or ""))
                    continue
                value = _value(pattern, groups.get("value"), text[start:end])
                entity = Found(pattern.entity, start, end, value, pattern.role)
                (found.weak if pattern.is_weak else found.sure).append(entity)
        return found, covered

    def _is_ordinary(self, key: str) -> bool:
        """Whether a word is one that questions are made of, be it misspelt."""
        if len(key) < 3 or key in _FUNCTION_WORDS:
            return True
        words = self._ordinary.get(key[:1], frozenset())
        budget = typo_budget(len(key) + 1)
        return key in words or bool(
            budget and process.extractOne(key, words, scorer=OSA.distance, score_cutoff=budget)
        )

    def _unknown(
        self,
        text: str,
        words: Sequence[Word],
        covered: Sequence[tuple[int, int]],
    ) -> list[Found]:
        """Words of weight that nothing covers, in runs."""
        runs: list[Found] = []
        previous = -2
        for index, (start, end, key) in enumerate(words):
            if (
                not key.isalpha()
                or _IMPERATIVE.search(text[start:end])
                or any(begin < end and start < stop for begin, stop in covered)
                or self._is_ordinary(key)
            ):
                continue
            if runs and previous == index - 1:
                start = runs.pop().start
            runs.append(Found("unknown", start, end, text[start:end]))
            previous = index
        return runs


def _is_exception(condition: Found, entities: Sequence[Found]) -> bool:
    """Whether « sauf si … » depends on what people know or are, and on nothing else."""
    inner = [
        e
        for e in entities
        if condition.start <= e.start < e.end <= condition.end and e is not condition
    ]
    words = (
        word_key(condition.value[start:end])
        for start, end in token_spans(condition.value)
        if not any(e.touches(condition.start + start, condition.start + end) for e in inner)
    )
    return any(e.kind in EXCLUDABLE for e in inner) and all(word in _COPULAS for word in words)


class _Matches(NamedTuple):
    sure: list[Found]
    weak: list[Found]
    cues: list[Cue]


def _compiled(patterns: Sequence[tuple[str, str]]) -> list[_Pattern]:
    """Return the patterns, with their parts put in.

    Raises:
        TrainingError: with the name and the pattern, and what is wrong.
    """
    parts: dict[str, list[str]] = defaultdict(list)
    for name, pattern in patterns:
        if name.isupper():
            parts[name].append(pattern)

    def whole(pattern: str) -> str:
        while _PART.search(pattern):
            pattern = _PART.sub(lambda match: f"(?:{'|'.join(parts[match[1]])})", pattern)
        return pattern.replace(" ?", r"[\s-]*").replace(" ", r"[\s-]+")

    result = []
    for name, pattern in patterns:
        if name.isupper():
            continue
        parsed = _NAME.fullmatch(name)
        if parsed is None:
            raise TrainingError(
                f"The regex '{name}' of the training data is none that ConstraintExtractor can "
                "read. Name it entity, entity=value or entity=value/role."
            )
        try:
            # Not within a word, whatever sign the pattern begins or ends with.
            expression = regex.compile(rf"(?<!\w)(?=\S)(?:{whole(pattern)})(?:(?<!\w)|(?!\w))")
        except regex.error as error:
            raise TrainingError(
                f"The regex '{name}' of the training data cannot be read, {error}: {pattern}"
            ) from error
        entity, value, role, weak = parsed.groups()
        result.append(_Pattern(entity, value, role, bool(weak), expression))
    return result


def _value(pattern: _Pattern, given: str | None, span: str) -> str:
    number = _NUMBERS.get(given, given) if given else None
    if number and pattern.value and pattern.value[0] in "+-":
        return str(min(max(int(number) + int(pattern.value), 1), 5))
    return pattern.value or number or span


def _ordinary_words(training_data: TrainingData) -> set[str]:
    """Keys of the words that stand outside every entity where somebody asks something."""
    words: set[str] = set()
    for message in training_data.intent_examples:
        if message.get(INTENT) != "OUT_OF_SCOPE":
            text = message.get(TEXT) or ""
            entities = [Found.of(entity) for entity in message.get(ENTITIES) or []]
            words |= {
                word_key(text[start:end])
                for start, end in token_spans(text)
                if not any(entity.touches(start, end) for entity in entities)
            }
    return words


def _pieces(name: Found) -> list[Found]:
    """Return what was taken for one name as those that it lists: « quang ni aurélie »."""
    if name.kind != "person" or len(name.value) != name.end - name.start:
        return [name]
    pieces, start = [], 0
    gaps = [match.span() for match in _BETWEEN.finditer(name.value)]
    for end, following in [*gaps, (len(name.value), 0)]:
        piece = name.value[start:end]
        if piece:
            begin = name.start + start
            pieces.append(dataclasses.replace(name, start=begin, end=name.start + end, value=piece))
        start = following
    return pieces


def _trimmed(name: Found, found: _Matches) -> Found:
    """Return a name that was found by its context without what a pattern has at its ends."""
    if not is_guess(name) or len(name.value) != name.end - name.start:
        return name
    # « Évitez-moi Paul Martin »
    heads = [c.end for c in found.cues if c.start <= name.start < c.end < name.end]
    if heads:
        value = name.value[max(heads) - name.start :].lstrip(" ,-")
        name = dataclasses.replace(name, start=name.end - len(value), value=value)
    ends = [other.start for other in found.sure if other.kind != "date" and other.end == name.end]
    ends += [cue.start for cue in found.cues if cue.kind == "asks" and cue.end >= name.end]
    # A company in brackets is no part of it.
    ends += [name.start + at for at in [name.value.find("(")] if at > 0]
    end = min((end for end in ends if name.start < end < name.end), default=name.end)
    value = name.value[: end - name.start].rstrip(" ,-\n")
    return dataclasses.replace(name, end=name.start + len(value), value=value) if value else name


def _absorbed(known: Sequence[Found], found: _Matches) -> list[Found]:
    """Return names without those that only tell which certificate is meant: « certif CKA »."""
    kept = []
    for name in known:
        told = next(
            (o for o in found.sure if o.value == "certificate" and 0 < name.start - o.end < 2),
            None,
        )
        if told is None or not is_guess(name):
            kept.append(name)
        else:
            told.end = name.end
    return kept


def _merged(known: Sequence[Found], found: _Matches) -> list[Found]:
    """Return the entities that stay, in order: the longest, on a tie the pattern's."""
    pieces = [piece for entity in known for piece in _pieces(entity)]
    known = _absorbed([_trimmed(entity, found) for entity in pieces], found)
    people = sum(entity.kind == "person" for entity in known)
    pronoun = any(entity.kind == "reference" for entity in known)
    about_person = people > 0 or pronoun
    about_two = people + pronoun > 1 or any(entity.kind == "reference" for entity in found.sure)
    skills = len({e.value for e in known if e.kind in ("technology", "job_title", "agency")})

    def is_possible(entity: Found) -> bool:
        match entity.kind, entity.value:
            case "ask", "comparison":
                # « le meilleur en Java » of all is a limit, of two a comparison.
                return about_two
            case "limit", "1":
                return not about_two
            case "ask", ("skills" | "agencies"):
                return not about_person
            case "ask", "substitute":
                # « on cherche un remplaçant qui connaît Java » compares with nobody.
                return about_person or not any(o.kind in ("technology", "job_title") for o in known)
            case "reference", "reference" if people > 1 or (skills > 1 and not about_person):
                return False  # « … Oracle et PostgreSQL, quelqu'un qui connaît les deux »
            case "unknown", _:
                # « sauf s'il est à Paris » says the same as « sauf à Paris ».
                return not _is_exception(entity, [*known, *found.sure])
            case "change", "restore":
                # « comment ça va ? » brings nothing back.
                return any(other.kind in EXCLUDABLE for other in known)
            case (("choice" | "more"), _):
                # « hormis ceux de Lyon », « qui d'autre que Paul »
                return not any(
                    cue.kind == "excluded" and entity.touches(cue.start, cue.end + 2)
                    for cue in found.cues
                )
        return True

    # « people » says what kind of turn it is, whatever else its words stand for.
    opening = [entity for entity in found.sure if entity.value == "people"]
    # « combien de consultants »: everybody, whatever their title
    known = [e for e in known if not any((o.start, o.end) == (e.start, e.end) for o in opening)]
    sure = [entity for entity in found.sure if entity.value != "people"]
    weak = [e for e in found.weak if not any(e.touches(k.start, k.end) for k in known)]
    # A name may be a month; no month is a name.
    names = [e for e in sure if e.kind != "date"], known, [e for e in sure if e.kind == "date"]
    candidates = [entity for some in (*names, weak) for entity in some if is_possible(entity)]
    kept: list[Found] = []
    for entity in sorted(candidates, key=lambda entity: entity.start - entity.end):
        if not any(entity.touches(other.start, other.end) for other in kept):
            kept.append(entity)
    return sorted(kept + opening[:1], key=lambda entity: entity.start)
