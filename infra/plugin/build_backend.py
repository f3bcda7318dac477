"""Builds the wheel for other Rasa projects; pyproject.toml names this as its build backend.

In a checkout, ``bot``, ``components`` and ``actions`` are packages of their own. Installed beside
somebody else's project they would take the place of packages of the same names: ``rasa init`` makes
one called ``actions``. So the wheel has a single package, ``skills_bot``, with the components and
what of ``bot`` goes with them below it, and their imports say so. An editable installation is that
of setuptools, and leaves the names as they are.
"""

from __future__ import annotations

import ast
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NAME = "skills_bot"
PACKAGES = ("common", "components", "actions", "bot")
# Modules here that stand in the wheel in place of those of a checkout.
IN_PLACE = {"__init__": HERE / "exports.py", "bot.cli": HERE / "cli.py"}
# The wheel has these, all components, and whatever they import.
SHIPPED = (
    "__init__",
    "bot.channels.mobile",
    "bot.cli",
    "bot.runtime.event_broker",
    "bot.runtime.lock_store",
    "bot.runtime.tracker_store",
)
DATA = ("*.json", "*.yml")
# What is different in the wheel's pyproject.toml.
SETTINGS = {
    'bot = "bot.cli:main"': f'skills-bot = "{NAME}.bot.cli:main"',
    'include = ["common*", "components*", "actions*", "bot*", '
    '"comparison*", "localaws*", "infra*"]': f'include = ["{NAME}*"]',
    '[project.entry-points."bot.commands"]\ncompare = "comparison.cli:compare"\n'
    'cost = "comparison.cli:cost"\n': "",
}


def build_wheel(
    wheel_directory: str,
    config_settings: Mapping[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the wheel from a copy of the sources with their new names (PEP 517)."""
    target = os.path.abspath(wheel_directory)
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder))
        os.chdir(folder)
        try:
            return build_meta.build_wheel(target, config_settings)
        finally:
            os.chdir(before)


def stage(folder: Path) -> None:
    """Write the project of the wheel into ``folder``.

    Raises:
        ValueError: The sources have something that cannot be given its new name.
    """
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for ours, theirs in SETTINGS.items():
        if settings.count(ours) != 1:
            raise ValueError(f"pyproject.toml must have this line once: {ours}")
        settings = settings.replace(ours, theirs)
    (folder / "pyproject.toml").write_text(settings, encoding="utf-8")
    modules = sources()
    for name in shipped(modules):
        source = modules[name]
        target = folder / NAME
        if name != "__init__":
            target = target.joinpath(*name.split("."))
        is_package = source.name == "__init__.py" or name in IN_PLACE
        path = target / "__init__.py" if is_package else target.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(renamed(source.read_bytes(), modules))
        if source.name == "__init__.py":
            for file in (file for pattern in DATA for file in source.parent.glob(pattern)):
                (target / file.name).write_bytes(file.read_bytes())


def sources() -> dict[str, Path]:
    """Return the file of each module, by its name in a checkout."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return {**found, **IN_PLACE}


def shipped(modules: Mapping[str, Path]) -> list[str]:
    """Return the names of the modules that the wheel has."""
    found: set[str] = set()
    waiting = [*SHIPPED, *(name for name in modules if name.startswith("components."))]
    while waiting:
        name = waiting.pop()
        if name in modules and name not in found:
            found.add(name)
            waiting += [name.rpartition(".")[0], *imported(modules[name].read_bytes())]
    return sorted(found)


def imported(source: bytes) -> Iterable[str]:
    """Yield the names that a module imports; of ``from x import y`` both x and x.y."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def renamed(source: bytes, modules: Mapping[str, Path]) -> bytes:
    """Return a module with the new names in its imports, and in strings that name a module.

    Raises:
        ValueError: It imports a package by ``import bot.x``, whose use in the code is not renamed.
    """
    lines = source.splitlines(keepends=True)
    places: list[tuple[int, int]] = []  # line from 1 and byte of each name
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level and _is_ours(node.module or ""):
            places.append((node.lineno, node.col_offset + len("from ")))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if not _is_ours(alias.name):
                    continue
                if alias.asname is None:
                    raise ValueError(f"Write `from … import …` instead of `import {alias.name}`.")
                places.append((alias.lineno, alias.col_offset))
        elif isinstance(node, ast.Constant) and _names_a_module(text := node.value, modules):
            line = lines[node.lineno - 1]
            places.append((node.lineno, line.index(text.encode(), node.col_offset)))
    for number, byte in sorted(places, reverse=True):
        line = lines[number - 1]
        lines[number - 1] = line[:byte] + f"{NAME}.".encode() + line[byte:]
    return b"".join(lines)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


def _names_a_module(text: Any, modules: Mapping[str, Path]) -> TypeGuard[str]:
    """Whether a constant is the full name of a module of ours, or of something in one."""
    if not isinstance(text, str) or not re.fullmatch(r"\w+(\.\w+)+", text) or not _is_ours(text):
        return False
    return text in modules or text.rpartition(".")[0] in modules
