"""Says what a machine lacks for the packages of requirements.lock, before they are downloaded.

`make setup` runs this file with the Python that it has found, and nothing installed yet.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

SUPPORTED = (
    ("linux", "x86_64"),
    ("linux", "aarch64"),
    ("darwin", "arm64"),
    ("darwin", "x86_64"),
)
# The oldest that the wheels of PyTorch and ONNX Runtime are made for.
GLIBC = (2, 28)
MACOS = {"arm64": (14, 0), "x86_64": (13, 0)}


@dataclass(frozen=True)
class Machine:
    """What wheels are made for.

    Attributes:
        system: As ``sys.platform``.
        processor: As ``platform.machine()``.
        version: Of glibc on Linux, () with another C library; of macOS there.
    """

    system: str
    processor: str
    version: tuple[int, ...] = ()


def this_machine() -> Machine:
    """Return the machine that this runs on."""
    version = platform.mac_ver()[0] if sys.platform == "darwin" else platform.libc_ver()[1]
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return Machine(sys.platform, platform.machine(), numbers)


def problem(machine: Machine) -> str | None:
    """Return why nothing can be set up on a machine; None where it can."""
    if machine.system in ("win32", "cygwin", "msys"):
        return "This set-up runs on Linux and macOS: on Windows, run it in WSL (wsl --install)."
    if (machine.system, machine.processor) not in SUPPORTED:
        return (
            f"There are no packages for {machine.system} on {machine.processor}; there are for "
            "Linux (x86-64, arm64) and macOS (Apple silicon, Intel)."
        )
    if machine.system == "linux" and machine.version < GLIBC:
        return (
            f"The packages need glibc {GLIBC[0]}.{GLIBC[1]} or newer (Debian 10, Ubuntu 18.10, "
            "RHEL 8), which this Linux has not; Alpine has none."
        )
    if machine.system == "darwin" and machine.version < MACOS[machine.processor]:
        return f"The packages need macOS {MACOS[machine.processor][0]} or newer."
    return None


def lacking(machine: Machine) -> str | None:
    """Return what a machine does without; None where everything works."""
    if (machine.system, machine.processor) == ("darwin", "x86_64"):
        return (
            "PyTorch is no longer published for macOS on Intel processors: models are served here, "
            "and trained on another machine (docs/platforms.md)."
        )
    return None


def main() -> None:
    """Say it of this machine; status 1 where nothing can be set up."""
    machine = this_machine()
    if obstacle := problem(machine):
        sys.exit(obstacle)
    if lack := lacking(machine):
        print(lack)


if __name__ == "__main__":
    main()
