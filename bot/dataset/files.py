"""Datasets in files: read, written, added to."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from bot.dataset.json_format import parse_json, to_json
from bot.dataset.model import (
    SECTIONS,
    Dataset,
    DatasetError,
    Example,
    Problem,
)
from bot.dataset.rasa_yaml import YamlError, annotate, example_from_yaml, parse_yaml, to_yaml
from common.errors import COMMAND, UserError
from common.spreadsheets import legacy_encoding

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
                    example = example_from_yaml(item[1], name, None, None, number)
                    dataset.examples.append(example)
                else:
                    getattr(dataset, SECTIONS[kind]).setdefault(name, []).append(item[1])
            except YamlError as problem:
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
