"""Questions with constraints: how many messages are read right, every entity, role and group.

    python -m benchmarks.constraints [--errors] [--data FILE …] [--test FILE …]

Trains the entity part of the pipeline on ``data/`` and reads ``tests/data/constraints.yml``. A
message is right when what is found and what is annotated are the same set of values with their
roles, and the same alternatives; where one technology alone is named, a level belongs to it anyway.
No intent classifier takes part.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rasa.shared.nlu.training_data.message import Message

from benchmarks.entities import FILES, ROOT, VARIANTS, Pipeline, read
from common.text import fold
from components.lexicon import Lexicon, word_key
from components.tokenizer import token_spans

# Names of skills that are families as well: either is right.
_FAMILIES = {
    "Cloud": "cloud",
    "Cybersécurité": "sécurité",
    "DevOps": "devops",
    "Développement front-end": "front",
    "Développement mobile": "mobile",
    "Intelligence artificielle": "IA",
}
_QUALIFIED = ("technology", "family")

Read = tuple[str, str, str | None, int | None]


def meaning(entities: Iterable[Mapping[str, Any]]) -> set[Read]:
    """Return (entity, value, role, group) of entities, groups numbered as they come."""
    ordered = sorted(entities, key=lambda entity: entity["start"])
    one = len({entity["value"] for entity in ordered if entity["entity"] in _QUALIFIED}) == 1
    numbers: dict[str, int] = {}
    result = set()
    for entity in ordered:
        kind, value = entity["entity"], str(entity["value"])
        if (kind, value) == ("ask", "people"):
            continue
        if kind == "technology" and value in _FAMILIES:
            kind, value = "family", _FAMILIES[value]
        group = entity.get("group")
        if group is not None and not (one and kind in ("level", *_QUALIFIED)):
            group = numbers.setdefault(group, len(numbers) + 1)
        else:
            group = None
        result.add((kind, fold(value), entity.get("role"), group))
    return result


def expected(message: Message, lexicon: Lexicon) -> list[dict[str, Any]]:
    """Return the annotated entities, with the canonical value where none is spelt out."""
    text = message.get("text")
    result = []
    for entity in message.get("entities") or []:
        value = entity["value"]
        if value == text[entity["start"] : entity["end"]]:
            keys = [word_key(value[start:end]) for start, end in token_spans(value)]
            names = {name.entity: name.value for name in lexicon.lookup(keys)} if keys else {}
            value = names.get(entity["entity"], value)
        result.append({**entity, "value": value})
    return result


def kind_of(message: Message) -> str:
    """Return what the message is an example of."""
    return str(message.get("metadata", {}).get("intent", {}).get("kind", ""))


def compare(
    read_entities: Any, messages: Sequence[Message], lexicon: Lexicon
) -> list[tuple[Message, set[Read], set[Read]]]:
    """Return each message with what it means and what ``read_entities(text)`` makes of it."""
    return [
        (message, meaning(expected(message, lexicon)), meaning(read_entities(message.get("text"))))
        for message in messages
    ]


def main() -> None:
    """Train, read and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path)
    parser.add_argument(
        "--test", nargs="+", type=Path, default=[ROOT / "tests" / "data" / "constraints.yml"]
    )
    parser.add_argument("--errors", action="store_true", help="list every message not all right")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    data = read(options.data or [ROOT / "data" / name for name in FILES])
    pipeline = Pipeline(VARIANTS["ours"], data)
    rows = compare(pipeline, read(options.test).nlu_examples, Lexicon.from_training_data(data))
    total = Counter(kind_of(message) for message, *_ in rows)
    right = Counter(kind_of(message) for message, wanted, found in rows if wanted == found)
    for kind, count in total.items():
        print(f"{right[kind]:4} of {count:3}  {kind}")
    print(f"{sum(right.values()):4} of {len(rows):3}  = {sum(right.values()) / len(rows):.1%}")
    for message, wanted, found in rows if options.errors else ():
        if wanted != found:
            print(message.get("text"))
            print("  missing", sorted(wanted - found, key=str))
            print("  wrong  ", sorted(found - wanted, key=str))


if __name__ == "__main__":
    main()
