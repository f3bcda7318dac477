"""Runs Terraform against a local AWS."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_MIRRORS = (
    "~/.terraform.d/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
)

_MIRROR_CONFIG = """\
provider_installation {{
  filesystem_mirror {{
    path = "{mirror}"
  }}
}}
"""

# The provider spends most of its time waiting for things to settle.
_PARALLELISM = "-parallelism=40"
_PATIENCE = 10.0  # seconds between an interruption and the end by force


class TerraformError(Exception):
    """Terraform failed; the message holds the end of what it wrote."""


def provider_mirror() -> Path | None:
    """Return a directory that holds the provider ``hashicorp/aws``, laid out as a mirror.

    It is looked for in ``LOCALAWS_TF_MIRROR`` and ``TF_PLUGIN_CACHE_DIR``, then where Terraform
    looks by itself, then below ``/opt``.
    """
    named = [os.environ.get(name) for name in ("LOCALAWS_TF_MIRROR", "TF_PLUGIN_CACHE_DIR")]
    candidates = [Path(name).expanduser() for name in [*filter(None, named), *_MIRRORS]]
    for candidate in [*candidates, *Path("/opt").glob("*")]:
        if any(candidate.glob("*/hashicorp/aws/*")):  # HOST/hashicorp/aws/VERSION
            return candidate
    return None


def mirror_environment(folder: Path) -> dict[str, str]:
    """Return the variables by which Terraform takes its provider from the mirror, if there is one.

    Args:
        folder: Where a configuration of its command line is written.
    """
    mirror = provider_mirror()
    if mirror is None:
        return {}
    config = folder / "terraform.tfrc"
    config.write_text(_MIRROR_CONFIG.format(mirror=mirror), encoding="utf-8")
    return {"TF_CLI_CONFIG_FILE": str(config)}


class Terraform:
    """A configuration that is applied to a local AWS.

    It is copied, so that no state and no lock file appears beside it.

    Args:
        configuration: The directory of the root module; what it refers to must be within.
        workspace: A directory for the copy and the state.
        environment: Where the AWS is: :meth:`localaws.LocalAWS.environment`.
        variables: Values of the configuration's variables.
    """

    def __init__(
        self,
        configuration: Path,
        workspace: Path,
        environment: Mapping[str, str],
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        self._directory = workspace / "configuration"
        shutil.copytree(
            configuration,
            self._directory,
            ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfvars", "node_modules"),
            dirs_exist_ok=True,
        )
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **environment,
            "AWS_EC2_METADATA_DISABLED": "true",
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "TF_CLI_ARGS": "-no-color",
            **{
                f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value)
                for name, value in (variables or {}).items()
            },
            **mirror_environment(workspace),
        }

    @staticmethod
    def available() -> bool:
        """Return whether Terraform and a mirror of its provider are on this machine."""
        return shutil.which("terraform") is not None and provider_mirror() is not None

    def apply(self, tell: Callable[[str], None] | None = None) -> None:
        """Initialise, then create or change everything.

        Args:
            tell: Hears each line that Terraform writes meanwhile.

        Raises:
            TerraformError: It fails.
        """
        self.run("init")
        self.run("apply", "-auto-approve", _PARALLELISM, tell=tell)

    def changes(self) -> list[str]:
        """Return what a new plan would change, as ``ACTION ADDRESS``: nothing, after an apply.

        Raises:
            TerraformError: It fails.
        """
        self.run("plan", "-out=plan")
        shown = json.loads(self.run("show", "-json", "plan"))
        return [
            f"{'/'.join(change['change']['actions'])} {change['address']}"
            for change in shown.get("resource_changes", [])
            if change["change"]["actions"] not in (["no-op"], ["read"])
        ]

    def resources(self) -> list[str]:
        """Return the addresses of everything there is.

        Raises:
            TerraformError: It fails.
        """
        return self.run("state", "list").split()

    def outputs(self) -> dict[str, Any]:
        """Return the outputs by name.

        Raises:
            TerraformError: It fails.
        """
        shown = json.loads(self.run("output", "-json"))
        return {name: output["value"] for name, output in shown.items()}

    def destroy(self, tell: Callable[[str], None] | None = None) -> None:
        """Destroy everything; for ``tell`` see :meth:`apply`.

        Raises:
            TerraformError: It fails.
        """
        self.run("destroy", "-auto-approve", _PARALLELISM, tell=tell)

    def run(self, command: str, *arguments: str, tell: Callable[[str], None] | None = None) -> str:
        """Run a command of Terraform's and return what it writes; for ``tell`` see :meth:`apply`.

        An interruption ends it and its provider.

        Raises:
            TerraformError: It fails.
        """
        written = []
        with subprocess.Popen(
            ["terraform", f"-chdir={self._directory}", command, *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    written.append(line)
                    if tell is not None:
                        tell(line.rstrip())
            except BaseException:
                _end(process)
                raise
        if process.returncode:
            raise TerraformError(f"`terraform {command}` failed:\n{''.join(written)[-3000:]}")
        return "".join(written)


def _end(process: subprocess.Popen[str]) -> None:
    """End Terraform and its provider: gently, so that they tidy up, but within seconds."""
    try:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
