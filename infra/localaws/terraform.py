"""Runs Terraform against a local AWS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
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


class Terraform:
    """A configuration that is applied to a local AWS.

    It is copied, so that no state and no lock file appears beside it.

    Args:
        configuration: The directory of the root module; what it refers to must be within.
        workspace: A directory for the copy and the state.
        environment: Where the AWS is: :meth:`infra.localaws.LocalAWS.environment`.
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
            ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", "node_modules"),
            dirs_exist_ok=True,
        )
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **environment,
            "AWS_EC2_METADATA_DISABLED": "true",
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            **{
                f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value)
                for name, value in (variables or {}).items()
            },
        }
        mirror = provider_mirror()
        if mirror is not None:
            config = workspace / "terraform.tfrc"
            config.write_text(_MIRROR_CONFIG.format(mirror=mirror), encoding="utf-8")
            self._environment["TF_CLI_CONFIG_FILE"] = str(config)

    @staticmethod
    def available() -> bool:
        """Return whether Terraform and a mirror of its provider are on this machine."""
        return shutil.which("terraform") is not None and provider_mirror() is not None

    def apply(self) -> None:
        """Initialise, then create or change everything.

        Raises:
            TerraformError: It fails.
        """
        self._run("init", "-input=false")
        self._run("apply", "-auto-approve", "-input=false")

    def changes(self) -> list[str]:
        """Return what a new plan would change, as ``ACTION ADDRESS``: nothing, after an apply.

        Raises:
            TerraformError: It fails.
        """
        self._run("plan", "-input=false", "-out=plan")
        shown = json.loads(self._run("show", "-json", "plan"))
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
        return self._run("state", "list").split()

    def outputs(self) -> dict[str, Any]:
        """Return the outputs by name.

        Raises:
            TerraformError: It fails.
        """
        shown = json.loads(self._run("output", "-json"))
        return {name: output["value"] for name, output in shown.items()}

    def destroy(self) -> None:
        """Destroy everything.

        Raises:
            TerraformError: It fails.
        """
        self._run("destroy", "-auto-approve", "-input=false")

    def _run(self, command: str, *arguments: str) -> str:
        finished = subprocess.run(
            ["terraform", f"-chdir={self._directory}", command, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode:
            written = (finished.stdout + finished.stderr)[-3000:]
            raise TerraformError(f"`terraform {command}` failed:\n{written}")
        return finished.stdout
