"""Licences, secrets and bills of materials of the project itself, and that faults are found."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import UserError
from infra import supply_chain
from infra.supply_chain import Package, Policy
from infra.tools import virtual_environment

POLICY = Policy.read()


@pytest.fixture(scope="module")
def tools() -> Path:
    try:
        return virtual_environment(supply_chain.TOOLS, supply_chain.TOOLS_LOCK)
    except UserError as error:
        pytest.skip(str(error))


def test_every_licence_is_allowed() -> None:
    packages = [*supply_chain.python_packages(POLICY), *supply_chain.npm_packages()]
    assert [problem for one in packages if (problem := POLICY.problem(one))] == []
    assert {one.name for one in packages} >= {"rasa", "preact", *supply_chain.locked()}


def test_every_exception_is_needed_and_has_a_reason() -> None:
    strict = Policy(POLICY.allowed, POLICY.spellings, [])
    packages = [*supply_chain.python_packages(POLICY), *supply_chain.npm_packages()]
    refused = [one for one in packages if strict.problem(one)]
    for pattern, licence, reason in POLICY.exceptions:
        alone = Policy(POLICY.allowed, POLICY.spellings, [(pattern, licence, reason)])
        assert any(alone.problem(one) is None for one in refused), pattern
        assert len(reason) > 20


@pytest.mark.parametrize(
    ("stated", "expression", "allowed"),
    [
        (["MIT License"], "MIT", True),
        (["Apache Software License", "BSD License"], "Apache-2.0 AND BSD-3-Clause", True),
        (["GPL-3.0-only OR MIT"], "GPL-3.0-only OR MIT", True),
        (["MIT AND GPL-3.0-only"], "MIT AND GPL-3.0-only", False),
        (["MIT License", "GNU Affero General Public License v3"], None, False),
        (["OSI Approved"], "unknown", False),
        ([], "unknown", False),
    ],
)
def test_what_packages_say(stated: list[str], expression: str | None, allowed: bool) -> None:
    licence = POLICY.licence_of(stated)
    assert expression in (licence, None)
    problem = POLICY.problem(Package("PyPI", "some-package", "1.0", licence))
    assert (problem is None) == allowed


def test_a_locked_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("rasa==3.6.21 \\\n    --hash=sha256:00\nno.such_package==1.0\n")
    with pytest.raises(UserError, match="Not installed: no-such-package"):
        list(supply_chain.python_packages(POLICY, lock))


def test_a_package_that_is_locked_for_other_machines_need_not_be_installed(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("rasa==3.6.21\nmissing==1.0 ; sys_platform == 'plan9' \\\n    --hash=0\n")
    assert supply_chain.locked(lock) == {"rasa": "3.6.21"}
    assert len(supply_chain.requirements(lock)) == 2


def test_no_secret_is_in_the_repository(tools: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=supply_chain.ROOT, capture_output=True, text=True
    )
    files = [path for path in listed.stdout.split("\0") if path]
    if not files:
        pytest.skip("there is no git repository")
    # Where one is none after all: docs/supply-chain.md.
    assert supply_chain.new_secrets(files) == []


def test_a_secret_is_found(tools: Path, tmp_path: Path) -> None:
    key = "AKIA" + "IOSFODNN7EXAMPLE"  # in two parts, so that this file has none
    (tmp_path / "settings.py").write_text(f"NAME = 'bot'\nKEY = '{key}'\n")
    found = supply_chain.new_secrets(["settings.py"], root=tmp_path)
    assert any(one.startswith("settings.py:2: AWS Access Key") for one in found)


def test_a_baseline_that_nobody_has_judged(tools: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    entry = {"filename": "a.py", "hashed_secret": "00", "line_number": 1, "type": "Secret Keyword"}
    baseline.write_text(json.dumps({"results": {"a.py": [entry]}}))
    with pytest.raises(UserError, match=r"Not judged yet.*a\.py"):
        supply_chain.new_secrets([], root=tmp_path, baseline=baseline)


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_bills_of_materials_are_complete_and_reproducible(tools: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        outcome = CliRunner().invoke(supply_chain.app, ["sbom", "--output", str(folder)])
        assert outcome.exit_code == 0, outcome.output + str(outcome.exception)
    for name in ("python.cdx.json", "web.cdx.json"):
        one, other = (folder / name for folder in folders)
        assert one.read_bytes() == other.read_bytes()
        assert json.loads(one.read_text(encoding="utf-8"))["bomFormat"] == "CycloneDX"
    python = json.loads((folders[0] / "python.cdx.json").read_text(encoding="utf-8"))
    named = {(supply_chain.normalised(one["name"]), one["version"]) for one in python["components"]}
    assert named == {
        (supply_chain.normalised(one.name), str(one.specifier).removeprefix("=="))
        for one in supply_chain.requirements()
    }
    web = json.loads((folders[0] / "web.cdx.json").read_text(encoding="utf-8"))
    assert "preact" in {one["name"] for one in web["components"]}


def test_what_could_not_be_audited_is_no_success() -> None:
    clean = {"name": "a", "version": "1", "vulns": []}
    flawed = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
    skipped = {"name": "c", "skip_reason": "Dependency not found on PyPI"}

    def judge(*dependencies: object) -> list[str]:
        printed = json.dumps({"dependencies": dependencies})
        return supply_chain.judge_pip_audit("x.lock", printed, "")

    assert judge(clean) == []
    assert judge(clean, flawed) == ["x.lock: b 2: CVE-1 (mended in 3)"]
    (problem,) = judge(clean, skipped)
    assert "NOT AUDITED" in problem
    assert "1 of 2" in problem
    assert "NOT AUDITED" in supply_chain.judge_pip_audit("x.lock", "", "ConnectionError")[0]
    assert "NOT AUDITED" in supply_chain.judge_npm_audit('{"error": {"code": "ENOAUDIT"}}')[0]
    assert supply_chain.judge_npm_audit('{"vulnerabilities": {}}') == []
