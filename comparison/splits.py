"""The material of a comparison and how it is split: the same way for every candidate."""

from __future__ import annotations

import csv
import hashlib
import io
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot import dataset
from common.errors import UserError
from comparison.results import Material
from comparison.settings import MaterialSettings

# The held-out set of a dataset that comes without one is always drawn with this seed.
_HELD_OUT_SEED = 0


@dataclass(frozen=True)
class Labelled:
    """Sentences and their intents, in the same order."""

    texts: list[str]
    intents: list[str]

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> Labelled:
        """Return the sentences at ``indices``."""
        chosen = list(indices)
        return Labelled([self.texts[i] for i in chosen], [self.intents[i] for i in chosen])

    def digest(self) -> str:
        """Return the SHA-256 over sentences and intents, in hexadecimal."""
        lines = (
            f"{intent}\t{text}\n" for intent, text in zip(self.intents, self.texts, strict=True)
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Data:
    """What candidates are trained and scored on."""

    train: Labelled  # to train on, and to cross-validate on
    held_out: Labelled  # never trained on
    train_path: str  # where it comes from, in words
    held_out_path: str  # likewise
    notes: list[str] = field(default_factory=list)  # what was changed before anything was measured

    @property
    def intents(self) -> list[str]:
        """The intents, sorted."""
        return sorted(set(self.train.intents))

    def materials(self) -> tuple[Material, Material]:
        """Return the description of both parts for the figures."""
        return (
            _material(self.train, self.train_path),
            _material(self.held_out, self.held_out_path),
        )


@dataclass(frozen=True)
class Split:
    """Indices of sentences to train on and to score."""

    train: list[int]
    test: list[int]


def load(material: MaterialSettings, least: int) -> Data:
    """Read the material and make it comparable; whatever is changed is noted.

    A sentence that stands twice with one intent counts once, one that stands in the held-out set
    is not trained on, and an intent with too few examples is left out altogether, so that all
    figures are about the same intents.

    Args:
        material: JSON, CSV or Rasa's YAML.
        least: Examples that an intent needs, which is the number of folds.

    Raises:
        UserError: A file cannot be read, or fewer than two intents remain.
    """
    path = Path(material.train)
    notes: list[str] = []
    train = _without_repetitions(_read(path), path, notes)
    train = _without_rare(train, least, notes)
    if len(set(train.intents)) < 2:
        raise UserError(
            f"{path}: a comparison needs at least two intents with {least} examples (one for each "
            f"fold). {' '.join(notes)}"
        )
    if material.held_out is None:
        train, aside = _put_aside(train, material.held_out_share)
        place = f"a part of {path}"
        notes.append(
            f"No held-out file was given: {material.held_out_share:.0%} of each intent, "
            f"{len(aside)} sentences, were put aside once, before any training."
        )
    else:
        place = material.held_out
        known = set(train.intents)
        aside = _without_unknown(_read(Path(place)), known, place, notes)
        train = _without_texts(train, set(aside.texts), notes)
    return Data(train, aside, str(path), place, notes)


def folds(intents: Sequence[str], count: int, seed: int) -> list[Split]:
    """Split into ``count`` stratified folds; each fold is scored once, the others trained on."""
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    return [
        Split(train.tolist(), test.tolist()) for train, test in splitter.split(intents, intents)
    ]


def subset(intents: Sequence[str], size: int, seed: int) -> list[int]:
    """Return the indices of ``size`` examples of each intent, all of those that have fewer.

    Those of a smaller size are among those of a greater one with the same seed.
    """
    members = defaultdict(list)
    for index, intent in enumerate(intents):
        members[intent].append(index)
    chosen: list[int] = []
    for intent in sorted(members):
        # A generator each, so that one intent's examples do not depend on another's.
        random.Random(f"{seed} {intent}").shuffle(members[intent])
        chosen += members[intent][:size]
    return sorted(chosen)


def useful_sizes(intents: Sequence[str], sizes: Iterable[int]) -> list[int]:
    """Return the sizes, rising, that leave out at least one example."""
    largest = max(Counter(intents).values())
    return sorted({size for size in sizes if size < largest})


def _read(path: Path) -> Labelled:
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    examples = dataset.read(path).examples
    return Labelled([one.text for one in examples], [one.intent for one in examples])


def _read_csv(path: Path) -> Labelled:
    """Read a CSV with a header that names ``text`` and ``intent`` (or ``label``, ``category``).

    Raises:
        UserError: It cannot be read, or a row lacks one of them; with the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        header = text.partition("\n")[0]
        delimiter = max(",;\t", key=header.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        columns = {(name or "").strip().lower(): name for name in reader.fieldnames or []}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    label = next((columns[name] for name in ("intent", "label", "category") if name in columns), "")
    if "text" not in columns or not label:
        raise UserError(
            f"{path}: the first line must name the columns, among them 'text' and 'intent' (or "
            f"'label'); it names {', '.join(filter(None, columns)) or 'none'}."
        )
    found = Labelled([], [])
    for row in reader:
        pair = [(row[columns["text"]] or "").strip(), (row[label] or "").strip()]
        if not all(pair):
            raise UserError(f"{path}, line {reader.line_num}: the text or the intent is missing.")
        found.texts.append(pair[0])
        found.intents.append(pair[1])
    return found


def _without_repetitions(examples: Labelled, path: Path, notes: list[str]) -> Labelled:
    """Take each sentence once, and none that has more than one intent."""
    pairs = dict.fromkeys(zip(examples.texts, examples.intents, strict=True))
    if len(pairs) < len(examples):
        notes.append(f"{len(examples) - len(pairs)} repeated sentences of {path} count once.")
    intents = Counter(text for text, _ in pairs)
    contradictory = [text for text, count in intents.items() if count > 1]
    if contradictory:
        notes.append(
            f"{len(contradictory)} sentences of {path} have more than one intent and are left out; "
            f"the first is « {contradictory[0]} »."
        )
    kept = [(text, intent) for text, intent in pairs if intents[text] == 1]
    return Labelled([text for text, _ in kept], [intent for _, intent in kept])


def _without_rare(examples: Labelled, least: int, notes: list[str]) -> Labelled:
    counts = Counter(examples.intents)
    rare = sorted(intent for intent, count in counts.items() if count < least)
    if not rare:
        return examples
    listed = ", ".join(f"{intent} ({counts[intent]})" for intent in rare)
    notes.append(f"Intents with fewer than {least} examples, one a fold, are left out: {listed}.")
    kept = [index for index, intent in enumerate(examples.intents) if intent not in rare]
    return examples.take(kept)


def _without_unknown(
    examples: Labelled, intents: Collection[str], path: str, notes: list[str]
) -> Labelled:
    unknown = Counter(intent for intent in examples.intents if intent not in intents)
    if unknown:
        listed = ", ".join(f"{intent} ({count})" for intent, count in sorted(unknown.items()))
        notes.append(f"Examples of {path} with intents that are not trained are left out: {listed}")
    kept = [index for index, intent in enumerate(examples.intents) if intent in intents]
    if not kept:
        raise UserError(f"{path}: none of its intents is among those of the training examples.")
    return examples.take(kept)


def _without_texts(examples: Labelled, texts: Collection[str], notes: list[str]) -> Labelled:
    kept = [index for index, text in enumerate(examples.texts) if text not in texts]
    count = len(examples) - len(kept)
    if count:
        what = "sentence is" if count == 1 else "sentences are"
        notes.append(f"{count} training {what} left out, standing in the held-out set as well.")
    return examples.take(kept)


def _put_aside(examples: Labelled, share: float) -> tuple[Labelled, Labelled]:
    from sklearn.model_selection import train_test_split

    rows = range(len(examples))
    try:
        train, aside = train_test_split(
            rows, test_size=share, random_state=_HELD_OUT_SEED, stratify=examples.intents
        )
    except ValueError as error:
        raise UserError(f"No held-out set can be put aside: {error} Give one.") from error
    return examples.take(sorted(train)), examples.take(sorted(aside))


def _material(examples: Labelled, path: str) -> Material:
    counts = Counter(examples.intents)
    return Material(path, len(examples), dict(sorted(counts.items())), examples.digest())
