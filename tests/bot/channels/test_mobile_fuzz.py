"""Schemathesis against the mobile channel: thousands of requests made from the contract.

It lives in an environment of its own, `.venv-fuzz`, since its jsonschema is not Rasa's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.channels import openapi
from bot.processes import free_port
from common import environment
from common.errors import UserError
from infra.tools import virtual_environment
from tests.support import HOST, ROOT
from tests.support.action_server import fill, start_action_server
from tests.support.mobile_server import MobileServer

LOCK = ROOT / "requirements-fuzz.lock"
ENVIRONMENT = ROOT / ".venv-fuzz"
SECONDS = 45

# 422: the same Idempotency-Key came with another message before, which no schema can tell.
CONFIGURATION = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "422"]
"""


@pytest.fixture(scope="module")
def schemathesis() -> Path:
    try:
        return virtual_environment(ENVIRONMENT, LOCK) / "schemathesis"
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server(
    rules_model: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MobileServer]:
    folder, port = tmp_path_factory.mktemp("fuzz"), free_port()
    url = f"sqlite:///{folder / 'directory.db'}"
    fill(url, folder)
    settings = {"requests_per_minute": 1_000_000, "burst": 1_000_000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(environment.INTERFACE_VARIABLE, HOST)
        patch.delenv(environment.PRODUCTION_VARIABLE, raising=False)
        for _ in start_action_server(url, folder, port):
            with MobileServer(rules_model, settings, port, folder / "events.db") as running:
                yield running


def test_the_channel_keeps_its_contract(
    schemathesis: Path, server: MobileServer, tmp_path: Path
) -> None:
    command = [
        str(schemathesis),
        "run",
        f"{server.url}/openapi.json",
        "--header",
        f"Authorization: Bearer {server.token('fuzz')}",
        "--url",
        server.url,
        "--max-time",
        str(SECONDS),
        "--seed",
        "1",
        "--request-timeout",
        "30",
        "--suppress-health-check",
        "all",
        "--no-color",
    ]
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    # In a folder of its own: it leaves a database of examples behind.
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    # Not only what was tested went well: all was tested, but for the contract's own address.
    operations = sum(len(methods) for methods in openapi.document()["paths"].values()) - 1
    assert f"Tested: {operations}\n" in done.stdout, done.stdout
