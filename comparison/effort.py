"""How easy it is to create a classifier and to industrialise it: counted facts.

``effort.yml`` says for each way to serve what is a fact; what can be counted in this repository is
counted there, the rest is stated with its source. :mod:`comparison.criteria` marks the facts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import config
from common.errors import UserError
from comparison.criteria import MEASURES

ROOT = Path(__file__).resolve().parents[1]
FACTS = Path(__file__).with_name("effort.yml")
CRITERIA = ("creation", "industrialisation")

_RESOURCE = re.compile(r'^resource\s+"([a-z]+)_([a-z0-9]+)[a-z0-9_]*"', re.MULTILINE)
_MODULE = re.compile(r'^\s*source\s*=\s*"(\.\.?/[^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Fact:
    """Something counted or stated.

    Attributes:
        value: The number.
        source: Where it comes from, in words.
        items: What was counted, where that can be listed.
        is_counted: Whether it was counted here, and not stated.
    """

    value: float
    source: str
    items: tuple[str, ...] = ()
    is_counted: bool = False


@dataclass(frozen=True)
class Infrastructure:
    """What a Terraform module holds, with the modules that it calls.

    Attributes:
        files: Its files and theirs, each once.
        resources: Resource blocks; those of a module that is called twice count twice.
        services: The services that the resources belong to, as the provider names them.
    """

    files: frozenset[Path]
    resources: int
    services: frozenset[str]


# --- counting ---------------------------------------------------------------------------------


def count_lines(files: Iterable[Path]) -> int:
    """Count the lines of files that are neither blank nor a comment beginning with ``#``."""
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#")
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
    )


def read_terraform(module: Path) -> Infrastructure:
    """Read a Terraform module, and those below it that it calls by a relative path."""
    files = set(module.glob("*.tf"))
    resources, services = 0, set()
    for path in sorted(files):
        text = path.read_text(encoding="utf-8")
        for _, service in _RESOURCE.findall(text):
            resources += 1
            services.add(service)
        for source in _MODULE.findall(text):
            called = read_terraform((module / source).resolve())
            files |= called.files
            resources += called.resources
            services |= called.services
    return Infrastructure(frozenset(files), resources, frozenset(services))


def read_constant(path: Path, name: str) -> float:
    """Return the number that a Python module assigns to ``name``, without importing it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return float(ast.literal_eval(node.value))
    raise UserError(f"{path} does not assign {name}.")


# --- facts ------------------------------------------------------------------------------------


def routes(stated: Path = FACTS) -> list[str]:
    """Return the ways to serve that facts are stated of."""
    return list(config.read_yaml(stated))


def facts(
    route: str,
    measured: Mapping[str, Fact],
    root: Path = ROOT,
    stated: Path = FACTS,
) -> dict[str, Fact]:
    """Return the facts about one way to serve, by the key of their measure.

    Args:
        route: A way to serve, as ``effort.yml`` names it.
        measured: What a run of the comparison found, by the key of the measure.
        root: The repository to count in. What it lacks (an installed package has no ``infra``) is
            left out.
        stated: The file of facts.

    Raises:
        UserError: The file has no such way, or a fact in it cannot be understood.
    """
    entries = config.read_yaml(stated)
    if route not in entries:
        raise UserError(f"{stated}: nothing is stated of '{route}'. Known: {', '.join(entries)}.")
    found: dict[str, Fact] = {}
    for measure in MEASURES:
        if measure.criterion not in CRITERIA:
            continue
        entry = entries[route].get(measure.key, {})
        fact = measured.get(measure.key) if "measured" in entry else _fact(entry, root)
        if fact:
            found[measure.key] = fact
    return found


def _fact(entry: Mapping[str, Any], root: Path) -> Fact | None:
    """Return the fact of an entry of the file; None where there is nothing, or nothing to count."""
    if not entry:
        return None
    if "value" in entry:
        return Fact(float(entry["value"]), entry["source"])
    if "terraform" in entry:
        return _terraform_fact(entry, root)
    if "lines" in entry:
        files = [path for pattern in entry["lines"] for path in root.glob(pattern)]
        source = f"lines of {', '.join(entry['lines'])}"
        return Fact(count_lines(files), source, (), True) if files else None
    if "constant" in entry:
        path = root / entry["file"]
        if not path.exists():
            return None
        source = f"{entry['constant']} in {entry['file']}"
        return Fact(read_constant(path, entry["constant"]), source, (), True)
    if "items" in entry:
        return Fact(len(entry["items"]), entry["source"], tuple(entry["items"]))
    raise UserError(f"{FACTS}: {dict(entry)} is no fact.")


def _terraform_fact(entry: Mapping[str, Any], root: Path) -> Fact | None:
    module = root / entry["terraform"]
    if not module.is_dir():
        return None
    infrastructure = read_terraform(module)
    source = f"counted in {entry['terraform']} and the modules that it calls"
    if entry["count"] == "resources":
        return Fact(infrastructure.resources, source, (), True)
    if entry["count"] == "services":
        services = tuple(sorted({*infrastructure.services, *entry.get("items", ())}))
        return Fact(len(services), source, services, True)
    patterns = entry.get("files", ())
    files = [path for pattern in patterns for path in root.glob(pattern)]
    if patterns:
        source += f", and in {', '.join(patterns)}"
    return Fact(count_lines([*infrastructure.files, *files]), source, (), True)
