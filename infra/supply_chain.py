"""What the project is made of: licences, secrets, bill of materials, known vulnerabilities.

``python -m infra.supply_chain licences|secrets|sbom|vulnerabilities``; docs/supply-chain.md. The
first two work offline and belong to the tests; the last asks a service.
"""

from __future__ import annotations

import csv
import fnmatch
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from packaging.requirements import Requirement

from common.errors import UserError
from infra.tools import virtual_environment

ROOT = Path(__file__).resolve().parent.parent
POLICY = Path(__file__).with_suffix(".yml")
LOCK = ROOT / "requirements.lock"
WEB = ROOT / "bot" / "channels" / "web"
BASELINE = ROOT / ".secrets.baseline"
TOOLS = ROOT / ".venv-audit"
TOOLS_LOCK = ROOT / "requirements-audit.lock"
OUTPUT = ROOT / "build" / "supply-chain"
UNKNOWN = "unknown"
# Hashes, and what is built from sources that are looked through.
NOT_SCANNED = (
    r"\.lock$|package-lock\.json$|^bot/channels/web/dist/|^docs/comparison/results\.json$"
    r"|\.secrets\.baseline$"
)

app = typer.Typer(
    help="What the project is made of.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# --- licences ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Package:
    """A dependency; ``licence`` is an SPDX expression as far as it could be made out."""

    ecosystem: str
    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class Policy:
    """Which licences may be: see ``supply_chain.yml``."""

    allowed: frozenset[str]
    spellings: Mapping[str, str]
    exceptions: Sequence[tuple[str, str, str]]

    @classmethod
    def read(cls, path: Path = POLICY) -> Policy:
        """Read the policy; each exception is a pattern of names, a licence and a reason."""
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return cls(
            frozenset(content["allowed"]),
            {
                spelling: identifier
                for identifier, spellings in content["spellings"].items()
                for spelling in spellings
            },
            [
                (pattern, exception["licence"], exception["reason"])
                for exception in content["exceptions"]
                for pattern in exception["packages"]
            ],
        )

    def licence_of(self, found: Iterable[str]) -> str:
        """Return the SPDX expression of what a package says about itself."""
        known = dict.fromkeys(self.spellings.get(one, one) for one in found)
        return " AND ".join(one for one in known if one) or UNKNOWN

    def problem(self, package: Package) -> str | None:
        """Return what is wrong with the licence of ``package``, None where it may be."""
        if any(fnmatch.fnmatch(package.name, pattern) for pattern, _, _ in self.exceptions):
            return None
        if self.allows(package.licence):
            return None
        return f"{package.name} {package.version} ({package.ecosystem}): {package.licence}"

    def allows(self, expression: str) -> bool:
        """Whether an SPDX expression of AND and OR (AND binds) is met by allowed licences."""
        return any(
            all(part.strip("() ") in self.allowed for part in choice.split(" AND "))
            for choice in expression.split(" OR ")
        )


def normalised(name: str) -> str:
    """Return the name of a Python package as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(lock: Path = LOCK) -> list[Requirement]:
    """Return what a lock file has, for all machines."""
    found = re.findall(r"(?m)^[A-Za-z0-9][^\\\n]*", lock.read_text(encoding="utf-8"))
    return [Requirement(line) for line in found]


def locked(lock: Path = LOCK) -> dict[str, str]:
    """Return name → version of every package that a lock file has for this machine."""
    return {
        normalised(one.name): str(one.specifier).removeprefix("==")
        for one in requirements(lock)
        if one.marker is None or one.marker.evaluate()
    }


def python_packages(policy: Policy, lock: Path = LOCK) -> Iterator[Package]:
    """Give the installed packages of the lock file with their licences.

    Raises:
        UserError: one of them is not installed, so its licence is not known.
    """
    versions = locked(lock)
    missing = dict(versions)
    for distribution in metadata.distributions():
        name = normalised(distribution.metadata["Name"])
        if missing.pop(name, None) is not None:
            licence = policy.licence_of(_stated(distribution.metadata))
            yield Package("PyPI", name, distribution.version, licence)
    if missing:
        raise UserError(f"Not installed: {', '.join(sorted(missing))}. Run make setup.")


def _stated(about: Any) -> list[str]:
    """Return what the metadata of a package say: expression, else classifiers, else a line."""
    if about.get("License-Expression"):
        return [about["License-Expression"]]
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in about.get_all("Classifier") or ()
        if text.startswith("License :: ")
    ]
    text = (about.get("License") or "").strip()
    return classifiers or ([text.splitlines()[0]] if text else [])


def npm_packages(lock: Path = WEB / "package-lock.json") -> Iterator[Package]:
    """Give the packages that the web client is built from."""
    for path, about in json.loads(lock.read_text(encoding="utf-8"))["packages"].items():
        if path:
            name = path.rpartition("node_modules/")[2]
            yield Package("npm", name, about["version"], about.get("license") or UNKNOWN)


@app.command()
def licences() -> None:
    """Check the licence of every dependency, and list them in build/supply-chain/licences.csv."""
    policy = Policy.read()
    packages = [*python_packages(policy), *npm_packages()]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with (OUTPUT / "licences.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("ecosystem", "name", "version", "licence", "exception"))
        for one in sorted(packages, key=lambda one: (one.ecosystem, one.name, one.version)):
            why = (
                reason for name, _, reason in policy.exceptions if fnmatch.fnmatch(one.name, name)
            )
            writer.writerow((one.ecosystem, one.name, one.version, one.licence, next(why, "")))
    if problems := sorted(filter(None, map(policy.problem, packages))):
        raise UserError(
            "Licences that infra/supply_chain.yml does not allow:\n" + "\n".join(problems)
        )
    typer.echo(f"licences: {len(packages)} packages, all allowed")


# --- secrets ----------------------------------------------------------------------------------


def new_secrets(files: Sequence[str], root: Path = ROOT, baseline: Path = BASELINE) -> list[str]:
    """Return what looks like a secret in ``files``, unless judged harmless: ``file:line: kind``.

    Raises:
        UserError: the scanner cannot be installed, or the baseline holds what nobody has judged.
    """
    judged = json.loads(baseline.read_text(encoding="utf-8"))["results"]
    unjudged = [path for path, some in judged.items() for one in some if one.get("is_secret", True)]
    if unjudged:
        raise UserError(
            f"Not judged yet, or a secret: {unjudged[0]}. detect-secrets audit {baseline}"
        )
    harmless = {(one["filename"], one["hashed_secret"]) for some in judged.values() for one in some}
    scanner = virtual_environment(TOOLS, TOOLS_LOCK) / "detect-secrets"
    command = [str(scanner), "scan", "--no-verify", "--exclude-files", NOT_SCANNED, *files]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(f"detect-secrets failed: {done.stderr[-500:]}")
    return [
        f"{path}:{one['line_number']}: {one['type']}"
        for path, some in json.loads(done.stdout)["results"].items()
        for one in some
        if (path, one["hashed_secret"]) not in harmless
    ]


@app.command()
def secrets() -> None:
    """Look for secrets in all files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    files = [path for path in listed.stdout.split("\0") if path]
    if found := new_secrets(files):
        raise UserError("These look like secrets:\n" + "\n".join(found))
    typer.echo(f"secrets: none in {len(files)} files")


# --- bill of materials ------------------------------------------------------------------------


@app.command()
def sbom(
    output: Annotated[Path, typer.Option(help="Folder to write to.")] = OUTPUT,
) -> None:
    """Write bills of materials, CycloneDX 1.5 in JSON; the same for the same lock files."""
    output.mkdir(parents=True, exist_ok=True)
    tool = virtual_environment(TOOLS, TOOLS_LOCK) / "cyclonedx-py"
    python = output / "python.cdx.json"
    form = ("--output-reproducible", "--of", "JSON", "--sv", "1.5", "-o", str(python))
    _run(
        [tool, "requirements", str(LOCK), "--pyproject", str(ROOT / "pyproject.toml"), *form], ROOT
    )
    npm = _run(["npm", "sbom", "--sbom-format", "cyclonedx", "--package-lock-only"], WEB)
    bill = json.loads(npm)
    del bill["serialNumber"], bill["metadata"]["timestamp"]  # another one at each call
    web = output / "web.cdx.json"
    web.write_text(f"{json.dumps(bill, indent=2)}\n", encoding="utf-8")
    for path in (python, web):
        number = len(json.loads(path.read_text(encoding="utf-8"))["components"])
        typer.echo(f"{path}: {number} components")


def _run(command: Sequence[str | Path], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not installed.") from None
    if done.returncode != 0:
        raise UserError(f"{command[0]} failed: {done.stderr[-1000:]}")
    return done.stdout


# --- vulnerabilities --------------------------------------------------------------------------


@app.command()
def vulnerabilities() -> None:
    """Ask PyPI's and npm's services for known vulnerabilities.

    A package that a service says nothing of counts as not audited, and the command as failed.
    """
    tool = virtual_environment(TOOLS, TOOLS_LOCK) / "pip-audit"
    problems: list[str] = []
    for lock in sorted(ROOT.glob("requirements*.lock")):
        command = [str(tool), "-r", str(lock), "--require-hashes", "--disable-pip", "-f", "json"]
        done = subprocess.run(
            [*command, "--progress-spinner", "off"], capture_output=True, text=True
        )
        problems += judge_pip_audit(lock.name, done.stdout, done.stderr)
    npm = subprocess.run(["npm", "audit", "--json"], cwd=WEB, capture_output=True, text=True)
    problems += judge_npm_audit(npm.stdout)
    if problems:
        raise UserError("\n".join(problems))
    typer.echo("vulnerabilities: none known")


def judge_pip_audit(name: str, printed: str, errors: str) -> list[str]:
    """Return what is wrong by the JSON that pip-audit printed for the lock file ``name``."""
    try:
        audited = json.loads(printed)["dependencies"]
    except (ValueError, KeyError):
        return [f"{name}: NOT AUDITED, the service is out of reach: {errors.strip()[-300:]}"]
    skipped = [one["name"] for one in audited if "skip_reason" in one]
    problems = [
        f"{name}: {one['name']} {one['version']}: {flaw['id']}"
        f" (mended in {', '.join(flaw['fix_versions']) or 'no version'})"
        for one in audited
        for flaw in one.get("vulns", ())
    ]
    if skipped:
        problems.append(
            f"{name}: NOT AUDITED: the service knows nothing of {len(skipped)} of {len(audited)}"
            f" packages ({', '.join(skipped[:3])} …); most likely it is out of reach."
        )
    return problems


def judge_npm_audit(printed: str) -> list[str]:
    """Return what is wrong by the JSON that npm audit printed."""
    try:
        found = json.loads(printed)["vulnerabilities"]
    except (ValueError, KeyError):
        return ["package-lock.json: NOT AUDITED, npm's service is out of reach."]
    return [f"package-lock.json: {name}: {flaw['severity']}" for name, flaw in found.items()]


if __name__ == "__main__":
    try:
        app()
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None
