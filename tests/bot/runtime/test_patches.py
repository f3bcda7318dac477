"""What is replaced in Rasa and Sanic is replaced where ``bot.runtime`` says, and nowhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import bot.runtime
from tests.support import ROOT

FOREIGN = ("rasa", "rasa_sdk", "sanic")


def replaced(path: Path) -> Iterator[str]:
    """Yield what a module assigns to, or sets by ``setattr``, of things imported from elsewhere."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    foreign = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                source = node.module if isinstance(node, ast.ImportFrom) else alias.name
                if (source or "").partition(".")[0] in FOREIGN:
                    foreign.add((alias.asname or alias.name).partition(".")[0])
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("setattr", "_wrap"):
            targets = node.args[:1]
        for target in targets:
            name = target
            while isinstance(name, ast.Attribute):
                name = name.value
            is_attribute = isinstance(target, ast.Attribute) or isinstance(node, ast.Call)
            if is_attribute and isinstance(name, ast.Name) and name.id in foreign:
                yield ast.unparse(target)


def test_the_list_is_complete() -> None:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("common", "components", "actions", "bot")
        for path in (ROOT / package).rglob("*.py")
        if any(replaced(path))
    }
    listed = re.findall(r"^\* ``([\w.]+)``:", str(bot.runtime.__doc__), re.M)
    assert found == set(listed)
