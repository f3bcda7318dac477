"""The dataset as the business delivers it: JSON, with the line of whatever is wrong."""

from __future__ import annotations

import functools
import json
import json.decoder
import json.scanner
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bot.dataset.model import (
    SECTIONS,
    VERSION,
    Dataset,
    Entity,
    Example,
    Problem,
    plain,
)

SCHEMA = Path(__file__).with_name("schema.json")


class _Located(dict[str, Any]):
    """A JSON object that knows where in the text it begins, and which keys it gives twice."""

    offset: int
    repeated: list[str]


class _LocatingDecoder(json.JSONDecoder):
    """Decodes JSON objects to :class:`_Located`.

    The standard decoder in its pure Python form, which calls ``parse_object`` with the position.
    """

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=self._located)
        parse_object = json.decoder.JSONObject  # type: ignore[attr-defined]

        def parse_located(text_and_end: tuple[str, int], *args: Any) -> tuple[_Located, int]:
            value, end = parse_object(text_and_end, *args)
            value.offset = text_and_end[1] - 1
            return value, end

        self.parse_object = parse_located
        self.scan_once = json.scanner.py_make_scanner(self)  # type: ignore[attr-defined]

    @staticmethod
    def _located(pairs: list[tuple[str, Any]]) -> _Located:
        located = _Located(pairs)
        counts = Counter(key for key, _ in pairs)
        located.repeated = [key for key, count in counts.items() if count > 1]
        return located


@functools.cache
def _schema_validator() -> Any:
    import jsonschema

    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def parse_json(text: str, name: str = "dataset.json") -> tuple[Dataset, list[Problem]]:
    """Parse the JSON form; the problems are those that make it unreadable."""
    try:
        document = _LocatingDecoder().decode(text)
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} (column {error.colno})"
        return Dataset(), [Problem(error.lineno, message)]
    except RecursionError:
        return Dataset(), [Problem(1, "not a dataset: nested too deeply")]
    if not isinstance(document, _Located):
        return Dataset(), [Problem(1, 'a dataset is an object: {"version": 1, "examples": […]}')]
    if "rasa_nlu_data" in document:
        advice = f"rasa data convert nlu --data {name} --out {Path(name).stem}.yml -f yaml"
        return Dataset(), [Problem(1, f"this is Rasa 1's JSON. Convert it: {advice}")]
    version = document.get("version")
    if version is True or version != VERSION:
        found = "no version is given" if version is None else f"version {version!r} is unknown"
        return Dataset(), [Problem(1, f'{found}; this program reads "version": {VERSION}')]

    line_of = _line_finder(text)
    problems = [
        Problem(line_of(located.offset), f'the key "{key}" is given twice')
        for located in _all_located(document)
        for key in located.repeated
    ]
    for violation in _schema_validator().iter_errors(document):
        located, where = document, ""
        value: Any = document
        for part in violation.absolute_path:
            value = value[part]
            where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
            located = value if isinstance(value, _Located) else located
        message = f"{where}: {violation.message}" if where else violation.message
        problems.append(Problem(line_of(located.offset), message))
    if problems:
        return Dataset(), problems

    examples = [
        _example_from_json(example, line_of(example.offset)) for example in document["examples"]
    ]
    sections = {key: dict(document.get(key, {})) for key in SECTIONS.values()}
    return Dataset(examples, language=document.get("language", "fr"), **sections), []


def _line_finder(text: str) -> Callable[[int], int]:
    import bisect

    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    return lambda offset: bisect.bisect_right(starts, offset)


def _all_located(value: Any) -> Iterator[_Located]:
    if isinstance(value, _Located):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _all_located(item)


def _example_from_json(example: dict[str, Any], line: int) -> Example:
    text = example["text"]
    entities = []
    for entity in example.get("entities", []):
        fields = dict(entity)
        if fields.get("value") == text[fields["start"] : fields["end"]]:
            del fields["value"]  # saying so or not is the same
        entities.append(Entity(**fields))
    return Example(
        text=text,
        intent=example["intent"],
        entities=tuple(sorted(entities, key=lambda entity: (entity.start, entity.end))),
        metadata=plain(example.get("metadata")),
        intent_metadata=plain(example.get("intent_metadata")),
        line=line,
    )


def to_json(dataset: Dataset) -> str:
    """Return the JSON form, one example a line, so that differences read well."""
    examples = ",\n".join(
        f"    {json.dumps(example.to_json(), ensure_ascii=False)}" for example in dataset.examples
    )
    parts = [
        f'"version": {VERSION}',
        f'"language": {json.dumps(dataset.language)}',
        f'"examples": [\n{examples}\n  ]' if examples else '"examples": []',
    ]
    for key in SECTIONS.values():
        if values := getattr(dataset, key):
            dumped = json.dumps(values, ensure_ascii=False, indent=2).replace("\n", "\n  ")
            parts.append(f'"{key}": {dumped}')
    return "{\n  " + ",\n  ".join(parts) + "\n}\n"
