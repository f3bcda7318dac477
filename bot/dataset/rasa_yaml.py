"""Datasets as Rasa reads them: YAML, and its training data in memory.

Rasa's own YAML writer sorts by intent and its reader mixes the synonyms that entity values imply
with those that are spelt out, hence reading and writing here; the annotation of entities is parsed
by Rasa's functions, and what is written is read back with Rasa's reader before it is handed out.
"""

from __future__ import annotations

import itertools
import json
import json.decoder
import json.scanner
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bot.dataset.model import (
    RASA_FORMAT_VERSION,
    SECTIONS,
    Dataset,
    Entity,
    Example,
    Problem,
    plain,
)
from bot.dataset.spans import wrong_entities
from common.errors import UserError

if TYPE_CHECKING:
    from rasa.shared.nlu.training_data.training_data import TrainingData


def parse_yaml(text: str) -> tuple[Dataset, list[Problem]]:
    """Parse Rasa's YAML form (the ``nlu`` key); the problems are those that make it unreadable."""
    import ruamel.yaml

    yaml = ruamel.yaml.YAML(typ="rt")
    try:
        document = yaml.load(text)
    except ruamel.yaml.error.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        return Dataset(), [Problem(line, f"not YAML: {error.problem}")]
    except ruamel.yaml.error.YAMLError as error:
        return Dataset(), [Problem(0, f"not YAML: {error}")]
    commented = isinstance(document, ruamel.yaml.comments.CommentedMap)
    if not commented or not isinstance(document.get("nlu"), list):
        return Dataset(), [Problem(1, "not a dataset of Rasa: there is no list under the key nlu")]
    problems = [
        Problem(document.lc.key(key)[0] + 1, f'the key "{key}" does not belong into a dataset')
        for key in document
        if key not in ("version", "nlu")
    ]
    dataset = Dataset()
    for item in document["nlu"]:
        try:
            _read_yaml_item(item, dataset)
        except YamlError as problem:
            problems.append(problem.problem)
    return dataset, problems


class YamlError(Exception):
    def __init__(self, line: int, message: str) -> None:
        self.problem = Problem(line, message)


def _read_yaml_item(item: Any, dataset: Dataset) -> None:
    kinds = [kind for kind in ("intent", *SECTIONS) if isinstance(item, dict) and kind in item]
    if len(kinds) != 1:
        line = item.lc.line + 1 if hasattr(item, "lc") else 0
        expected = ", ".join(("intent", *SECTIONS))
        raise YamlError(line, f"an item of nlu has exactly one of these keys: {expected}")
    kind = kinds[0]
    name = item[kind]
    if not isinstance(name, str) or not name.strip():
        raise YamlError(item.lc.line + 1, f"the {kind} has no name (in quotes if it is a number)")
    if kind == "intent":
        dataset.examples.extend(_yaml_examples(item, str(name)))
    else:
        values: dict[str, list[str]] = getattr(dataset, SECTIONS[kind])
        values.setdefault(str(name), []).extend(value for value, _ in _yaml_lines(item))


def _yaml_examples(item: Any, intent: str) -> Iterator[Example]:
    intent_metadata = plain(item.get("metadata"))
    listed = item.get("examples")
    if not isinstance(listed, list):
        for text, line in _yaml_lines(item):
            yield example_from_yaml(text, intent, None, intent_metadata, line)
        return
    for entry in listed:
        line = entry.lc.line + 1 if hasattr(entry, "lc") else item.lc.line + 1
        if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
            raise YamlError(line, f"an example of {intent} has no text")
        text = entry["text"].strip("\n\r ")
        yield example_from_yaml(text, intent, plain(entry.get("metadata")), intent_metadata, line)


def _yaml_lines(item: Any) -> Iterator[tuple[str, int]]:
    """Yield the values of an ``examples: |`` block, one a line after ``-``, with their lines."""
    block = item.get("examples")
    if not isinstance(block, str) or not block.strip():
        raise YamlError(item.lc.line + 1, "there are no examples")
    line = item.lc.value("examples")[0] + 2  # the text begins on the line after the bar
    for number, text in enumerate(block.splitlines(), start=line):
        if not text.startswith("-"):
            raise YamlError(number, f"an example begins with a dash: {text!r}")
        yield text[1:].strip("\n\r "), number


def annotated(text: str, intent: str) -> Example:
    """Return the example that ``text`` in Rasa's notation stands for: « Qui est [Ali](person) ? ».

    Raises:
        UserError: an annotation is wrong.
    """
    try:
        return example_from_yaml(text, intent, None, None, 0)
    except YamlError as problem:
        raise UserError(problem.problem.message) from None


def example_from_yaml(
    annotated: str,
    intent: str,
    metadata: dict[str, Any] | None,
    intent_metadata: dict[str, Any] | None,
    line: int,
) -> Example:
    try:
        text, entities = parse_annotated(annotated)
    except Exception as error:  # Rasa raises one exception a kind of mistake
        raise YamlError(line, f"wrong entity annotation: {str(error).splitlines()[0]}") from error
    return Example(text, intent, entities, metadata, intent_metadata, line)


def parse_annotated(annotated: str) -> tuple[str, tuple[Entity, ...]]:
    from rasa.shared.nlu.training_data import entities_parser

    text = entities_parser.replace_entities(annotated)
    entities = []
    for found in entities_parser.find_entities_in_training_example(annotated):
        value = found["value"]
        if value == text[found["start"] : found["end"]]:
            value = None
        entities.append(
            Entity(
                found["start"],
                found["end"],
                found["entity"],
                value,
                found.get("role"),
                found.get("group"),
            )
        )
    return text, tuple(entities)


def to_yaml(dataset: Dataset) -> str:
    """Return the YAML form: neighbours of the same intent share a block, the order is kept.

    Raises:
        UserError: something cannot be said in Rasa's YAML; which, and on what line it was read.
    """
    import rasa.shared.utils.io
    from rasa.shared.nlu.training_data.formats.rasa_yaml import RasaYAMLReader
    from ruamel.yaml import StringIO
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

    if problems := [problem for problem in unsayable(dataset) if problem.is_error]:
        raise UserError("\n".join(f"line {problem}" for problem in problems))

    def block(values: Iterable[str]) -> LiteralScalarString:
        return LiteralScalarString("".join(f"- {value}\n" for value in values))

    items: list[dict[str, Any]] = []
    runs = itertools.groupby(dataset.examples, lambda example: _label(example))
    for _, run in runs:
        examples = list(run)
        item: dict[str, Any] = {"intent": examples[0].intent}
        if examples[0].intent_metadata is not None:
            item["metadata"] = examples[0].intent_metadata
        if any(_needs_object(example) for example in examples):
            item["examples"] = [_yaml_object(example, LiteralScalarString) for example in examples]
        else:
            item["examples"] = block(annotate(example) for example in examples)
        items.append(item)
    for kind, key in SECTIONS.items():
        for name, values in getattr(dataset, key).items():
            items.append({kind: name, "examples": block(values)})

    stream = StringIO()
    document = {"version": DoubleQuotedScalarString(RASA_FORMAT_VERSION), "nlu": items}
    rasa.shared.utils.io.write_yaml(document, stream, should_preserve_key_order=True)
    text: str = stream.getvalue()

    # The promise of this module, checked with the reader that training uses.
    again, problems = parse_yaml(text)
    again.language = dataset.language  # Rasa has it in config.yml
    as_rasa_reads = RasaYAMLReader().reads(text).fingerprint()
    if problems or again != dataset or as_rasa_reads != to_training_data(dataset).fingerprint():
        lines = [
            f"line {before.line}: {before.text!r} would be read as {after.text!r}"
            for before, after in zip(dataset.examples, again.examples, strict=False)
            if before != after
        ]
        details = "\n".join(lines) or "a name or value would be read differently"
        raise UserError(f"The dataset cannot be written in Rasa's YAML without loss:\n{details}")
    return text


def _label(example: Example) -> str:
    return json.dumps([example.intent, example.intent_metadata], sort_keys=True)


def _needs_object(example: Example) -> bool:
    """Whether the example needs more than a line: metadata, or a text of several lines."""
    return (
        example.metadata is not None or "\t" in example.text or len(example.text.splitlines()) > 1
    )


def _yaml_object(example: Example, literal: Callable[[str], str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"text": literal(annotate(example) + "\n")}
    if example.metadata is not None:
        entry["metadata"] = example.metadata
    return entry


def annotate(example: Example) -> str:
    """Return the text with its entities in Rasa's notation: ``[k8s]{"entity": …, "value": …}``."""
    text, parts, position = example.text, [], 0
    for (start, end), group in itertools.groupby(
        example.entities, lambda entity: (entity.start, entity.end)
    ):
        entities = list(group)
        parts.append(f"{text[position:start]}[{text[start:end]}]")
        attributes = [
            {key: getattr(entity, key) for key in ("entity", "role", "group", "value")}
            for entity in entities
        ]
        sayings = [
            json.dumps({key: value for key, value in one.items() if value}, ensure_ascii=False)
            for one in attributes
        ]
        if len(entities) > 1:
            parts.append(f"[{', '.join(sayings)}]")
        elif entities[0] == Entity(start, end, entities[0].entity):
            parts.append(f"({entities[0].entity})")
        else:
            parts.append(sayings[0])
        position = end
    return "".join([*parts, text[position:]])


def to_training_data(dataset: Dataset) -> TrainingData:
    """Return the dataset as Rasa's reader would after :func:`to_yaml`."""
    from rasa.shared.nlu.training_data import synonyms_parser, util
    from rasa.shared.nlu.training_data.message import Message
    from rasa.shared.nlu.training_data.training_data import TrainingData

    messages: list[Message] = []
    synonyms: dict[str, str] = {}
    for example in dataset.examples:
        entities = [
            util.build_entity(
                entity.start,
                entity.end,
                entity.value or example.text[entity.start : entity.end],
                entity.entity,
                entity.role,
                entity.group,
            )
            for entity in example.entities
        ]
        synonyms_parser.add_synonyms_from_entities(example.text, entities, synonyms)
        messages.append(
            Message.build(
                example.text, example.intent, entities, example.intent_metadata, example.metadata
            )
        )
    for canonical, variants in dataset.synonyms.items():
        synonyms.update(dict.fromkeys(variants, canonical))
    return TrainingData(
        messages,
        synonyms,
        [{"name": name, "pattern": one} for name, some in dataset.regexes.items() for one in some],
        [{"name": name, "elements": values} for name, values in dataset.lookups.items()],
    )


def unsayable(dataset: Dataset) -> Iterator[Problem]:
    """Find what Rasa's YAML has no notation for, and entities that are not in their text."""
    for example in dataset.examples:
        text = example.text
        if not text.strip():
            yield Problem(example.line, "the text is empty")
            continue
        if text != text.strip("\n\r\t "):
            yield Problem(example.line, f"remove the space around the text: {text!r}")
            continue
        if odd := unprintable(text):
            yield Problem(example.line, f"the text has the control character {odd}: {text!r}")
            continue
        wrong = list(wrong_entities(example))
        yield from wrong
        if not wrong:
            try:
                sayable = parse_annotated(annotate(example)) == (text, example.entities)
            except ImportError:  # no Rasa in a Lambda, where nothing is written as YAML
                sayable = True
            except Exception:  # what Rasa's parser makes of broken annotations varies
                sayable = False
            if not sayable:
                message = "square brackets, or braces in a value, make an entity annotation of Rasa"
                yield Problem(example.line, f"{message}: {annotate(example)!r}")
    for key in SECTIONS.values():
        for name, values in getattr(dataset, key).items():
            for value in [name, *values]:
                if unprintable(value) or len(value.splitlines()) != 1 or value != value.strip():
                    yield Problem(0, f"{key}, {name!r}: {value!r} is not a plain line of text")


def unprintable(text: str) -> str | None:
    """Return the first character that YAML cannot hold, or would alter, as ``U+0007``."""
    for char in text:
        control = unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char not in "\n\t"
        if control or char in "\ufffe\uffff\ufeff":
            return f"U+{ord(char):04X}"
    return None
