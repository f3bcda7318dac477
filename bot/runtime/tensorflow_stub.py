"""Leaves TensorFlow out of a process of Rasa that has no use for it.

Rasa imports TensorFlow when it starts, for components that this bot may not have: half of the
start-up time, and more memory than all the rest. :func:`leave_out` puts placeholders in its place:
Rasa's classes can still be derived from them and annotated with them, and whoever calls one is told
how to have the real thing. It is done only where the configuration and the model are known to need
no TensorFlow; in doubt, everything is as Rasa has it.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import tarfile
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

# ``always`` imports it whatever is needed; ``never`` does not, for models that come from elsewhere
# (``--remote-storage``), of which nothing is known yet.
VARIABLE = "BOT_TENSORFLOW"

# Rasa 3.6's components on TensorFlow: those whose modules import it.
COMPONENTS = frozenset(
    {
        "ConveRTFeaturizer",
        "DIETClassifier",
        "LanguageModelFeaturizer",
        "ResponseSelector",
        "TEDPolicy",
        "UnexpecTEDIntentPolicy",
    }
)
_PACKAGES = frozenset({"keras", "tensorflow", "tensorflow_hub", "tensorflow_text"})
# Whose components are known: Rasa's own, which may go by the bare class name, and ours.
_KNOWN = ("rasa.", "components.")
# What these commands do with a model, and with a configuration.
_LOADING = ("run", "shell", "test", "interactive")
_TRAINING = ("train", "interactive")


class TensorFlowLeftOut(RuntimeError):  # noqa: N818 (it says what happened)
    """Something needs TensorFlow after all; the message says what to do."""


# --- whether it is needed ---------------------------------------------------------------------


def is_needed_by(components: Iterable[str]) -> bool:
    """Whether one of the components, named as in ``config.yml``, is on TensorFlow or unknown."""
    return any(
        name.rpartition(".")[2] in COMPONENTS or ("." in name and not name.startswith(_KNOWN))
        for name in components
    )


def is_needed_for(arguments: Sequence[str]) -> bool:
    """Whether a command of ``rasa`` needs TensorFlow.

    Args:
        arguments: The command line without the program: ``["run", "--model", …]``.
    """
    if (wish := os.environ.get(VARIABLE)) in ("always", "never"):
        return wish == "always"
    if importlib.util.find_spec("tensorflow") is None:  # as in the images of infra/container
        return False
    try:
        return any(map(is_needed_by, _component_lists(arguments)))
    except Exception:  # whatever is wrong with these files is Rasa's to say
        return True


def _component_lists(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Yield the components of each model and configuration that a command uses.

    Raises:
        Exception: They cannot be told.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--model", nargs="+")
    parser.add_argument("-c", "--config", nargs="+")
    parser.add_argument("--endpoints", default="endpoints.yml")
    options, rest = parser.parse_known_args(arguments)
    command, *others = [one for one in rest if not one.startswith("-")]
    if command not in (*_LOADING, *_TRAINING) or "--remote-storage" in " ".join(rest):
        raise LookupError(command)
    if command in _TRAINING or options.config or "--cross-validation" in rest:
        for config in options.config or ["config.yml"]:
            yield _components_of_config(Path(config))
    if command in _LOADING:
        if "models" in _read_yaml(Path(options.endpoints)):
            raise LookupError("a model server")
        positional = [one for one in others if Path(one).exists()]
        for model in options.model or positional or ["models"]:
            yield _components_of_model(Path(model))


def _components_of_config(path: Path) -> list[str]:
    config = _read_yaml(path)
    # Without these, or with another recipe, Rasa chooses the components.
    if not config.get("pipeline") or not config.get("policies"):
        raise LookupError("the components of the pipeline or the policies")
    if config.get("recipe", "default.v1") != "default.v1":
        raise LookupError("another recipe")
    return [
        name for key in ("pipeline", "policies") for item in config[key] for name in _named(item)
    ]


def _named(component: Any) -> Iterator[str]:
    """Yield the name in a component's configuration, and those of its fallbacks."""
    while isinstance(component, dict):
        if "name" in component:
            yield component["name"]
        component = component.get("fallback")


def _components_of_model(path: Path) -> list[str]:
    """Return the classes in a model archive; of a folder, in its newest one, as Rasa does."""
    if path.is_dir():
        path = max(path.glob("*.tar.gz"), key=os.path.getmtime)
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.removeprefix("./") == "metadata.json":
                metadata = json.load(archive.extractfile(member))  # type: ignore[arg-type]
                nodes = metadata["predict_schema"]["nodes"].values()
                return [name for node in nodes for name in (node["uses"], *_named(node["config"]))]
    raise LookupError(f"no metadata in {path}")


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    if not path.exists():
        return {}
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return content


# --- the placeholders -------------------------------------------------------------------------


class _Placeholder(type):
    """A class that can be derived from and looked into, but not called."""

    def __getattr__(cls, name: str) -> _Placeholder:
        return _placeholder(f"{cls.__qualname__}.{name}", name)

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        raise TensorFlowLeftOut(
            f"{cls.__module__}.{cls.__qualname__} needs TensorFlow, which was left out since "
            f"neither the configuration nor the model names a component on it. Set {VARIABLE}="
            "always in the environment."
        )


def _placeholder(full_name: str, name: str) -> _Placeholder:
    if name.startswith("__"):
        raise AttributeError(f"{full_name} is not there: TensorFlow was left out.")
    return _Placeholder(name, (), {"__qualname__": full_name})


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> _Placeholder:
        return _placeholder(f"{self.__name__}.{name}", name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the packages, and every module below them, as placeholders."""

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in _PACKAGES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def leave_out() -> None:
    """Have this process import placeholders for TensorFlow; call it before Rasa is imported.

    Nothing happens where TensorFlow is there already.
    """
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Finder())
