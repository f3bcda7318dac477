"""The training examples as the business delivers them (JSON) and as Rasa reads them (YAML).

Both directions are lossless: order, entities with value, role and group, metadata, lookup tables,
synonyms and regular expressions come back as they were. What cannot be said in Rasa's YAML (a text
that looks like an entity annotation, say) is refused by name and never altered silently.

Rasa's own YAML writer sorts by intent and its reader mixes the synonyms that entity values imply
with those that are spelt out, hence reading and writing here; the annotation of entities is parsed
by Rasa's functions, and what is written is read back with Rasa's reader before it is handed out.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import json.decoder
import json.scanner
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import COMMAND, UserError
from common.spreadsheets import clean, legacy_encoding
from common.text import fold

if TYPE_CHECKING:
    from rasa.shared.nlu.training_data.training_data import TrainingData

VERSION = 1
RASA_FORMAT_VERSION = "3.1"
SCHEMA = Path(__file__).with_name("dataset.schema.json")
# From so many examples on, an intent may have many times fewer than another.
ENOUGH = 30
IMBALANCE = 10
SECTIONS = {"lookup": "lookups", "synonym": "synonyms", "regex": "regexes"}


@dataclass(frozen=True)
class Entity:
    """A part of a text, ``text[start:end]``; ``value`` is None where it is that text itself."""

    start: int
    end: int
    entity: str
    value: str | None = None
    role: str | None = None
    group: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entity as in the JSON file, without what is not set."""
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Example:
    """A labelled text; ``line`` is where it stands in the file that it was read from."""

    text: str
    intent: str
    entities: tuple[Entity, ...] = ()
    metadata: dict[str, Any] | None = None
    intent_metadata: dict[str, Any] | None = None
    line: int = field(default=0, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the example as in the JSON file, without what is not set."""
        entities = [entity.to_json() for entity in self.entities] or None
        optional = {
            "entities": entities,
            "metadata": self.metadata,
            "intent_metadata": self.intent_metadata,
        }
        return {
            "text": self.text,
            "intent": self.intent,
            **{key: value for key, value in optional.items() if value is not None},
        }


@dataclass
class Dataset:
    """Examples in order, and name → values of lookup tables, synonyms and regular expressions."""

    examples: list[Example] = field(default_factory=list)
    lookups: dict[str, list[str]] = field(default_factory=dict)
    synonyms: dict[str, list[str]] = field(default_factory=dict)
    regexes: dict[str, list[str]] = field(default_factory=dict)
    language: str = "fr"


@dataclass(frozen=True, order=True)
class Problem:
    """Something wrong with a file; ``line`` counts from 1, 0 means the file as a whole."""

    line: int
    message: str
    is_error: bool = True

    def __str__(self) -> str:
        """Return ``12: error: message``."""
        return f"{self.line}: {'error' if self.is_error else 'warning'}: {self.message}"


class DatasetError(UserError):
    """A file that cannot be read as a dataset, with everything that is wrong with it."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(f"{path}:{problem}" for problem in self.problems))


# --- reading ----------------------------------------------------------------------------------


def read(path: Path) -> Dataset:
    """Read a JSON or YAML dataset, by the suffix of its name.

    Raises:
        DatasetError: it cannot be read; every reason with its line.
        UserError: no such file, or neither ``.json`` nor ``.yml``.
    """
    text = _read_text(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        dataset, problems = parse_json(text, path.name)
    elif suffix == ".md":
        advice = f"{COMMAND} dataset convert {path.name} {path.stem}.yml"
        raise DatasetError(path, [Problem(1, f"this is Rasa 1's Markdown. Convert it: {advice}")])
    elif suffix in (".yml", ".yaml"):
        dataset, problems = parse_yaml(text)
    else:
        raise UserError(f"{path}: a dataset is a .json or a .yml file.")
    if problems:
        raise DatasetError(path, problems)
    return dataset


def read_markdown(path: Path) -> Dataset:
    """Read the Markdown of Rasa 1, which Rasa 3 no longer does; its examples are annotated alike.

    Raises:
        DatasetError: something in it is not understood; every line that isn't.
    """
    dataset, problems = Dataset(), []
    kind, name = "", ""
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        line = re.sub(r"<!--.*?-->", "", line).strip()
        if heading := re.fullmatch(rf"##\s*(intent|{'|'.join(SECTIONS)})\s*:\s*(.+)", line):
            kind, name = heading.groups()
        elif kind and (item := re.fullmatch(r"[-*+]\s+(.+)", line)):
            try:
                if kind == "intent":
                    example = _example_from_yaml(item[1], name, None, None, number)
                    dataset.examples.append(example)
                else:
                    getattr(dataset, SECTIONS[kind]).setdefault(name, []).append(item[1])
            except _YamlError as problem:
                problems.append(problem.problem)
        elif line:
            message = "expected ## intent:NAME (or synonym, lookup, regex), then lines with a dash"
            problems.append(Problem(number, f"{message}: {line!r}"))
    if problems:
        raise DatasetError(path, problems)
    return dataset


def files_of(folder: Path) -> list[Path]:
    """Return the delivered JSON and the YAML files with NLU data in ``folder``."""
    from rasa.shared.nlu.training_data.formats.rasa_yaml import RasaYAMLReader

    yaml = [path for path in sorted(folder.rglob("*.yml")) if RasaYAMLReader.is_yaml_nlu_file(path)]
    return [*sorted(folder.glob("dataset.json")), *yaml]


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        advice = f"iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name}"
        raise DatasetError(path, [Problem(1, f"this is UTF-16, not UTF-8. Convert it: {advice}")])
    problems = []
    legacy = legacy_encoding(data)
    name = {"mac_roman": "Macintosh", "cp850": "CP850"}.get(legacy or "", "Windows-1252")
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            likely = bytes([byte]).decode(legacy or "cp1252", errors="replace")
            message = f"byte 0x{byte:02X} at position {error.start + 1} is not UTF-8"
            problems.append(Problem(number, f"{message} (in {name} it is « {likely} »)"))
    if problems:
        advice = f"iconv -f {name.upper()} -t UTF-8 {path.name} > utf8-{path.name}"
        problems.append(
            Problem(
                0,
                f"the file is not UTF-8, most likely it was saved as {name}. Save it as "
                f"UTF-8, or convert it: {advice}",
            )
        )
        raise DatasetError(path, problems)
    return re.sub("\r\n?", "\n", data.decode("utf-8-sig"))


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
        metadata=_plain(example.get("metadata")),
        intent_metadata=_plain(example.get("intent_metadata")),
        line=line,
    )


def _plain(value: Any) -> Any:
    """Return ``value`` in plain types; ruamel.yaml and our decoder have types of their own."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


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
        except _YamlError as problem:
            problems.append(problem.problem)
    return dataset, problems


class _YamlError(Exception):
    def __init__(self, line: int, message: str) -> None:
        self.problem = Problem(line, message)


def _read_yaml_item(item: Any, dataset: Dataset) -> None:
    kinds = [kind for kind in ("intent", *SECTIONS) if isinstance(item, dict) and kind in item]
    if len(kinds) != 1:
        line = item.lc.line + 1 if hasattr(item, "lc") else 0
        expected = ", ".join(("intent", *SECTIONS))
        raise _YamlError(line, f"an item of nlu has exactly one of these keys: {expected}")
    kind = kinds[0]
    name = item[kind]
    if not isinstance(name, str) or not name.strip():
        raise _YamlError(item.lc.line + 1, f"the {kind} has no name (in quotes if it is a number)")
    if kind == "intent":
        dataset.examples.extend(_yaml_examples(item, str(name)))
    else:
        values: dict[str, list[str]] = getattr(dataset, SECTIONS[kind])
        values.setdefault(str(name), []).extend(value for value, _ in _yaml_lines(item))


def _yaml_examples(item: Any, intent: str) -> Iterator[Example]:
    intent_metadata = _plain(item.get("metadata"))
    listed = item.get("examples")
    if not isinstance(listed, list):
        for text, line in _yaml_lines(item):
            yield _example_from_yaml(text, intent, None, intent_metadata, line)
        return
    for entry in listed:
        line = entry.lc.line + 1 if hasattr(entry, "lc") else item.lc.line + 1
        if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
            raise _YamlError(line, f"an example of {intent} has no text")
        text = entry["text"].strip("\n\r ")
        yield _example_from_yaml(text, intent, _plain(entry.get("metadata")), intent_metadata, line)


def _yaml_lines(item: Any) -> Iterator[tuple[str, int]]:
    """Yield the values of an ``examples: |`` block, one a line after ``-``, with their lines."""
    block = item.get("examples")
    if not isinstance(block, str) or not block.strip():
        raise _YamlError(item.lc.line + 1, "there are no examples")
    line = item.lc.value("examples")[0] + 2  # the text begins on the line after the bar
    for number, text in enumerate(block.splitlines(), start=line):
        if not text.startswith("-"):
            raise _YamlError(number, f"an example begins with a dash: {text!r}")
        yield text[1:].strip("\n\r "), number


def annotated(text: str, intent: str) -> Example:
    """Return the example that ``text`` in Rasa's notation stands for: « Qui est [Ali](person) ? ».

    Raises:
        UserError: an annotation is wrong.
    """
    try:
        return _example_from_yaml(text, intent, None, None, 0)
    except _YamlError as problem:
        raise UserError(problem.problem.message) from None


def _example_from_yaml(
    annotated: str,
    intent: str,
    metadata: dict[str, Any] | None,
    intent_metadata: dict[str, Any] | None,
    line: int,
) -> Example:
    try:
        text, entities = _parse_annotated(annotated)
    except Exception as error:  # Rasa raises one exception a kind of mistake
        raise _YamlError(line, f"wrong entity annotation: {str(error).splitlines()[0]}") from error
    return Example(text, intent, entities, metadata, intent_metadata, line)


def _parse_annotated(annotated: str) -> tuple[str, tuple[Entity, ...]]:
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


# --- writing ----------------------------------------------------------------------------------


def write(dataset: Dataset, path: Path) -> None:
    """Write ``dataset`` as JSON or YAML, by the suffix; the file is replaced as a whole or not.

    Raises:
        UserError: the suffix is another one, or the dataset cannot be said in Rasa's YAML.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        text = to_json(dataset)
    elif suffix in (".yml", ".yaml"):
        text = to_yaml(dataset)
    else:
        raise UserError(f"{path}: a dataset is a .json or a .yml file.")
    _replace(path, text)


def append(path: Path, examples: Sequence[Example], comment: str) -> None:
    """Add ``examples`` to the end of a dataset; the file is replaced as a whole or not at all.

    What a YAML file holds already stays as it is, letter by letter, and the new examples get
    ``comment`` above them. JSON has no comments.

    Raises:
        DatasetError: the file cannot be read.
        UserError: the examples would not be read back as they are.
    """
    dataset = read(path)
    whole = dataclasses.replace(dataset, examples=[*dataset.examples, *examples])
    if path.suffix.lower() == ".json":
        write(whole, path)
        return
    before = path.read_text(encoding="utf-8-sig")
    indent = next(iter(re.findall(r"(?m)^( *)- (?:intent|lookup|synonym|regex):", before)), "")
    blocks = [f"\n{indent}# {comment}\n"]
    for intent, run in itertools.groupby(examples, lambda example: example.intent):
        lines = "".join(f"{indent}    - {annotate(example)}\n" for example in run)
        blocks.append(f"{indent}- intent: {intent}\n{indent}  examples: |\n{lines}")
    text = before.rstrip("\n") + "\n" + "".join(blocks)
    again, problems = parse_yaml(text)
    if problems or again != whole:
        raise UserError(f"{path}: the examples cannot be added at its end; is `nlu` its last key?")
    _replace(path, text)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


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


def to_yaml(dataset: Dataset) -> str:
    """Return the YAML form: neighbours of the same intent share a block, the order is kept.

    Raises:
        UserError: something cannot be said in Rasa's YAML; which, and on what line it was read.
    """
    import rasa.shared.utils.io
    from rasa.shared.nlu.training_data.formats.rasa_yaml import RasaYAMLReader
    from ruamel.yaml import StringIO
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

    if problems := [problem for problem in _unsayable(dataset) if problem.is_error]:
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


# --- validation -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labels:
    """The intents and entities that the domain knows."""

    intents: frozenset[str]
    entities: frozenset[str]


def read_labels(domain: Path) -> Labels:
    """Read the labels of a Rasa domain, a file or a folder.

    Raises:
        UserError: it cannot be read.
    """
    from rasa.shared.constants import DEFAULT_NLU_FALLBACK_INTENT_NAME
    from rasa.shared.core.constants import DEFAULT_INTENTS
    from rasa.shared.core.domain import Domain
    from rasa.shared.exceptions import RasaException

    if not domain.exists():
        raise UserError(f"{domain}: no such domain.")
    try:
        with warnings.catch_warnings():
            # For every slot named like an entity, whatever its mappings; Rasa's own commands
            # leave it out as well.
            warnings.filterwarnings("ignore", message="(?s).*Slot auto-fill has been removed")
            loaded = Domain.load(str(domain))
    except RasaException as error:
        raise UserError(f"{domain}: {error}") from error
    reserved = {*DEFAULT_INTENTS, DEFAULT_NLU_FALLBACK_INTENT_NAME}
    return Labels(frozenset(loaded.intents) - reserved, frozenset(loaded.entities))


def validate(dataset: Dataset, labels: Labels | None = None) -> list[Problem]:
    """Return everything that is wrong with a dataset, in the order of its lines.

    Errors: an empty or wrongly encoded text, a label that ``labels`` does not know, entity
    positions outside the text, inside a word or overlapping, the same text twice, or with two
    labels, something that Rasa's YAML cannot say. Warnings: texts that differ in case, accents and
    punctuation alone, or in names alone and have different labels; an intent with few examples
    beside others.
    """
    problems = [
        *_unsayable(dataset),
        *_cut_words(dataset),
        *_encoding(dataset),
        *_repeated(dataset),
        *_alike(dataset),
        *_imbalance(dataset),
        *_synonym_conflicts(dataset),
    ]
    if labels is not None:
        problems += _unknown_labels(dataset, labels)
    if not dataset.examples and not any(getattr(dataset, key) for key in SECTIONS.values()):
        problems.append(Problem(0, "the dataset is empty"))
    return sorted(problems)


def _unsayable(dataset: Dataset) -> Iterator[Problem]:
    """Find what Rasa's YAML has no notation for, and entities that are not in their text."""
    for example in dataset.examples:
        text = example.text
        if not text.strip():
            yield Problem(example.line, "the text is empty")
            continue
        if text != text.strip("\n\r\t "):
            yield Problem(example.line, f"remove the space around the text: {text!r}")
            continue
        if odd := _unprintable(text):
            yield Problem(example.line, f"the text has the control character {odd}: {text!r}")
            continue
        wrong = list(_wrong_entities(example))
        yield from wrong
        if not wrong:
            try:
                sayable = _parse_annotated(annotate(example)) == (text, example.entities)
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
                if _unprintable(value) or len(value.splitlines()) != 1 or value != value.strip():
                    yield Problem(0, f"{key}, {name!r}: {value!r} is not a plain line of text")


def _unprintable(text: str) -> str | None:
    """Return the first character that YAML cannot hold, or would alter, as ``U+0007``."""
    for char in text:
        control = unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char not in "\n\t"
        if control or char in "\ufffe\uffff\ufeff":
            return f"U+{ord(char):04X}"
    return None


def _wrong_entities(example: Example) -> Iterator[Problem]:
    previous: Entity | None = None
    length = len(example.text)
    for entity in example.entities:
        span = f"entity {entity.entity} at {entity.start}–{entity.end}"
        if not 0 <= entity.start < entity.end <= length:
            message = f"is not inside the text, which has {length} characters: {example.text!r}"
            yield Problem(
                example.line, f"{span} {message}{_otherwise_counted(example.text, entity)}"
            )
            continue
        covered = example.text[entity.start : entity.end]
        if covered != covered.strip():
            yield Problem(example.line, f"{span} begins or ends with a space: {covered!r}")
        if entity.value == "":
            yield Problem(example.line, f"{span} has an empty value")
        same = previous and (previous.start, previous.end) == (entity.start, entity.end)
        if previous and not same and entity.start < previous.end:
            yield Problem(example.line, f"{span} overlaps with {previous.entity}: {covered!r}")
        previous = entity


def _cut_words(dataset: Dataset) -> Iterator[Problem]:
    """Find entities that begin or end inside a word, which training would leave out."""
    for example in dataset.examples:
        text = example.text
        for one in example.entities:
            inside = 0 <= one.start < one.end <= len(text)
            if inside and _cuts_a_word(text, one.start, one.end):
                covered = text[one.start : one.end]
                yield Problem(
                    example.line,
                    f"entity {one.entity} at {one.start}–{one.end} cuts a word: {covered!r} of "
                    f"{text!r}{_otherwise_counted(text, one)}",
                )


def _cuts_a_word(text: str, start: int, end: int) -> bool:
    return any(text[place - 1 : place].isalnum() and text[place : place + 1].isalnum()
               for place in (start, end) if place)  # fmt: skip


def _otherwise_counted(text: str, entity: Entity) -> str:
    """Say what a span covers that was counted in other units than characters, if it makes sense."""
    for unit, encoding, size in (("UTF-16", "utf-16-le", 2), ("bytes of UTF-8", "utf-8", 1)):
        data = text.encode(encoding, "surrogatepass")
        try:
            start, end = (
                len(data[: place * size].decode(encoding)) for place in (entity.start, entity.end)
            )
        except UnicodeDecodeError:
            continue
        covered = text[start:end]
        moved = (start, end) != (entity.start, entity.end) and entity.end * size <= len(data)
        if moved and covered == covered.strip() != "" and not _cuts_a_word(text, start, end):
            return f"; it was counted in {unit}: in characters, {covered!r} is at {start}–{end}"
    return ""


def _encoding(dataset: Dataset) -> Iterator[Problem]:
    """Find texts that were decoded wrongly before they were saved, or copied out of a page."""
    for example in dataset.examples:
        if "\ufffd" in example.text:
            message = "a character was lost in a conversion (U+FFFD)"
            yield Problem(example.line, f"{message}: {example.text!r}")
            continue
        repaired = clean(example.text)
        if repaired != unicodedata.normalize("NFC", example.text.strip()):
            message = (
                f"wrong encoding, HTML or an invisible character: {example.text!r} is probably "
                f"{repaired!r}"
            )
            yield Problem(example.line, message)


def folded(text: str) -> str:
    """Return ``text`` without case, accents, punctuation and repeated space, for comparison.

    ``+``, ``#`` and dots inside a word stay: C, C++ and C# are three technologies.
    """
    words = (word.strip(".,;:!?…«»\"'()-") for word in fold(text).split())
    return " ".join(word for word in words if word) or " ".join(text.split())


def _repeated(dataset: Dataset) -> Iterator[Problem]:
    first: dict[str, Example] = {}
    exact: dict[str, Example] = {}
    for example in dataset.examples:
        spelling = unicodedata.normalize("NFC", " ".join(example.text.split()))
        twin = exact.setdefault(spelling, example)
        similar = first.setdefault(folded(example.text), example)
        label = example.intent
        if similar.intent != label:
            message = (
                f"{example.text!r} is {label} here and {similar.intent} on line {similar.line}"
            )
            yield Problem(example.line, f"contradictory labels: {message}")
        elif twin is not example:
            yield Problem(example.line, f"duplicate of line {twin.line}: {example.text!r}")
        elif similar is not example:
            message = f"differs from line {similar.line} in case, accents or punctuation alone"
            yield Problem(example.line, f"{message}: {example.text!r}", is_error=False)


def _alike(dataset: Dataset) -> Iterator[Problem]:
    """Find texts that are the same but for the names in them, and have different labels."""
    first: dict[str, Example] = {}
    for example in dataset.examples:
        frame, position = "", 0
        for entity in example.entities:
            if entity.start >= position:
                frame += f"{example.text[position : entity.start]}<{entity.entity}>"
                position = entity.end
        frame = folded(frame + example.text[position:])
        other = first.setdefault(frame, example)
        # A name and nothing else says little: « Oracle » is asked for, « Paul » is asked about.
        if other.intent != example.intent and folded(other.text) != folded(example.text):
            message = (
                f"{example.text!r} is {example.intent} here, and {other.text!r} is {other.intent} "
                f"on line {other.line}: they differ in names alone"
            )
            yield Problem(example.line, f"probably contradictory labels: {message}", is_error=False)


def _imbalance(dataset: Dataset) -> Iterator[Problem]:
    """Find intents with so few examples that they are learnt badly, or at the cost of others."""
    counts = Counter(example.intent for example in dataset.examples)
    if len(counts) < 2:
        return
    largest, most = counts.most_common(1)[0]
    for intent, count in counts.items():
        line = next(example.line for example in dataset.examples if example.intent == intent)
        if count == 1:
            yield Problem(line, f"{intent} has a single example", is_error=False)
        elif count < ENOUGH and most > count * IMBALANCE:
            message = f"{intent} has {count} examples beside {most} of {largest}"
            advice = f"write {ENOUGH} or more, in as many ways as people ask"
            yield Problem(line, f"{message}: {advice}", is_error=False)


def _synonym_conflicts(dataset: Dataset) -> Iterator[Problem]:
    canonical: dict[str, str] = {}
    for value, variants in dataset.synonyms.items():
        for variant in variants:
            other = canonical.setdefault(variant, value)
            if other != value:
                yield Problem(0, f"the synonym {variant!r} stands for both {other!r} and {value!r}")
    for example in dataset.examples:
        for entity in example.entities:
            if entity.value and entity.start < entity.end <= len(example.text):
                variant = example.text[entity.start : entity.end]
                other = canonical.setdefault(variant, entity.value)
                if other != entity.value:
                    message = (
                        f"{variant!r} has the value {entity.value!r} here and {other!r} elsewhere"
                    )
                    yield Problem(example.line, message)


def _unknown_labels(dataset: Dataset, labels: Labels) -> Iterator[Problem]:
    import difflib

    def unknown(kind: str, name: str, known: frozenset[str]) -> str:
        close = difflib.get_close_matches(name, sorted(known), n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"
        return f"unknown {kind} {name}{hint}"

    for example in dataset.examples:
        if example.intent.split("/")[0] not in labels.intents:
            yield Problem(example.line, unknown("intent", example.intent, labels.intents))
        for entity in example.entities:
            if entity.entity not in labels.entities:
                yield Problem(example.line, unknown("entity", entity.entity, labels.entities))
