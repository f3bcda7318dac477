"""Runs Terraform on ``infra/terraform``, in a folder of its own, for tests and the demo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bot.errors import UserError

MODULE = Path(__file__).with_name("terraform")
# Where Terraform itself looks for providers that were put there by hand, and below /opt.
_MIRRORS = (
    "~/.terraform.d/plugins",
    "~/.local/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
)
# The provider waits for long, doing nothing, for things to settle: more of it at once.
_PARALLELISM = 40


class Terraform:
    """A copy of the root module, with its state.

    Args:
        folder: An empty folder.
        environment: Added to this process's: credentials, ``AWS_ENDPOINT_URL``.
        variables: The root module's variables.

    Raises:
        UserError: Terraform is not installed.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], variables: Mapping[str, Any]
    ) -> None:
        if shutil.which("terraform") is None:
            raise UserError("Terraform is not installed: see infra/terraform/README.md.")
        self.folder = folder / "terraform"
        local = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "lint")
        shutil.copytree(MODULE, self.folder, ignore=local)
        (self.folder / "given.auto.tfvars.json").write_text(json.dumps(variables))
        self._environment = {
            **os.environ,
            **environment,
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "TF_CLI_ARGS": "-no-color",
            "TF_CLI_CONFIG_FILE": _cli_config(folder),
        }

    def init(self) -> None:
        """Get the provider: from a folder of this machine where there is one, see README.md."""
        self.run("init", "-backend=false")

    def apply(self, tell: Callable[[str], None] | None = None) -> None:
        """Make everything; ``tell`` hears each line of Terraform's."""
        self.run("apply", "-auto-approve", f"-parallelism={_PARALLELISM}", tell=tell)

    def destroy(self, tell: Callable[[str], None] | None = None) -> None:
        """Delete everything; ``tell`` hears each line of Terraform's."""
        self.run("destroy", "-auto-approve", f"-parallelism={_PARALLELISM}", tell=tell)

    def plan(self) -> list[str]:
        """Return the addresses of the resources that an apply would change."""
        self.run("plan", "-out=plan")
        changes = json.loads(self.run("show", "-json", "plan"))["resource_changes"]
        return [one["address"] for one in changes if one["change"]["actions"] != ["no-op"]]

    def outputs(self) -> dict[str, Any]:
        """Return the root module's outputs."""
        return {
            name: output["value"]
            for name, output in json.loads(self.run("output", "-json")).items()
        }

    def run(self, *arguments: str, tell: Callable[[str], None] | None = None) -> str:
        """Run a command of Terraform's; return what it printed on standard output.

        Raises:
            UserError: It failed; the message is what it printed on standard error.
        """
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                ["terraform", *arguments],
                cwd=self.folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            with process:
                assert process.stdout is not None
                lines = []
                for line in process.stdout:
                    lines.append(line)
                    if tell is not None:
                        tell(line.rstrip())
            errors.seek(0)
            reason = errors.read().strip()
        if process.returncode:
            raise UserError(f"terraform {arguments[0]} failed:\n{reason}")
        return "".join(lines)


def _cli_config(folder: Path) -> str:
    """Return the path of a CLI configuration with which providers are found without network.

    That is the user's own; or else one that names a folder of providers, if this machine has one.
    """
    given = os.environ.get("TF_CLI_CONFIG_FILE", "")
    if Path(given).is_file():
        return given
    config = folder / "terraform.rc"
    config.write_text("")
    if mirror := _mirror():
        config.write_text(
            "provider_installation {\n"
            f"  filesystem_mirror {{\n    path = {json.dumps(str(mirror))}\n  }}\n"
            "}\n"
        )
    return str(config)


def _mirror() -> Path | None:
    """Return a folder as ``terraform providers mirror`` lays it out, if there is one."""
    roots = [Path(name).expanduser() for name in _MIRRORS]
    roots += sorted(path for path in Path("/opt").glob("*") if path.is_dir())
    return next((root for root in roots if any(root.glob("*/hashicorp/aws/*"))), None)
