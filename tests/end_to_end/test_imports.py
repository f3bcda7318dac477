"""What is importable without what: docs/supply-chain.md, docs/beyond-rasa.md."""

from __future__ import annotations

import subprocess
import sys

from tests.support import ROOT

BLOCK = """
import importlib, importlib.abc, pathlib, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Block())
"""
# What holds the rest onto Rasa: everything else does without it.
ON_RASA = {
    "bot.channels.client",
    "bot.channels.commands",
    "bot.channels.development",
    "bot.channels.idempotency",
    "bot.channels.lookups",
    "bot.channels.mobile",
    "bot.channels.open_rest",
    "bot.channels.readiness",
    "bot.channels.web_client",
    "bot.event_broker",
    "bot.lock_store",
    "bot.runtime.event_broker",
    "bot.runtime.instrumentation",
    "bot.runtime.lock_store",
    "bot.runtime.rasa_server",
    "bot.runtime.tracker_store",
    "bot.tracker_store",
    "comparison.rasa_pipeline",
    "components.camembert.classifier",
    "components.component",
    "components.comprehend.classifier",
    "components.constraints",
    "components.crf",
    "components.gazetteer",
    "components.intent_classifier",
    "components.lexicon",
    "components.scope",
    "components.tokenizer",
}
IMPORT_ALL = """
failed = []
for top in ("common", "actions", "bot", "components", "comparison"):
    for path in sorted(pathlib.Path(top).rglob("*.py")):
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        if "migrations" in name or name.endswith("__main__"):
            continue
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name.partition(".")[0] == "rasa":
                failed.append(name)
            elif error.name.partition(".")[0] not in blocked:
                raise
print(*failed)
"""
SERVE = """
from bot.runtime import tensorflow_stub
tensorflow_stub.leave_out()
for name in (
    "rasa.__main__", "rasa.core.run", "rasa.server", "rasa.engine.recipes.default_components",
    "bot.runtime.rasa_cli", "bot.runtime.rasa_patches", "bot.channels.mobile",
    "bot.channels.web_client", "bot.channels.open_rest", "bot.runtime.tracker_store",
    "bot.runtime.lock_store", "bot.runtime.event_broker",
    "components.camembert", "components.comprehend", "components.crf", "components.gazetteer",
    "components.constraints", "components.tokenizer",
):
    importlib.import_module(name)
import components.camembert as camembert, components.comprehend as comprehend
print(camembert.CamembertIntentClassifier, comprehend.ComprehendIntentClassifier)
"""


def run(blocked: set[str], code: str) -> str:
    """Run ``code`` without the packages ``blocked``; return what it prints."""
    code = f"blocked = {blocked!r}\n{BLOCK}{code}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_most_of_it_does_without_rasa() -> None:
    """Query, actions, directory, command line; the models of the classifiers."""
    assert set(run({"rasa", "tensorflow", "torch"}, IMPORT_ALL).split()) == ON_RASA


def test_the_bot_serves_without_what_its_image_leaves_out() -> None:
    excluded = (ROOT / "infra" / "container" / "excluded").read_text().split()
    assert {"sympy", "confluent-kafka"} <= set(excluded)
    assert "CamembertIntentClassifier" in run({n.replace("-", "_") for n in excluded}, SERVE)
