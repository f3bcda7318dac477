"""An AWS that enforces IAM: ministack, by TLS on loopback, with Comprehend and SageMaker beside it.

In an environment of its own, `.venv-iam`, since its botocore is not ours. Buckets, functions, state
machines, topics and queues are its own, and each call of a function is judged by the policies of
its role and of the bucket. What it lacks goes to a local AWS, which uses its buckets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from bot.processes import free_port
from infra.tools import virtual_environment
from localaws import LocalAWS
from tests.support import HOST, ROOT

ACCOUNT, REGION = "123456789012", "eu-west-1"
_LOCK, _FOLDER = ROOT / "requirements-iam.lock", ROOT / ".venv-iam"
_PATIENCE = 60.0
_BESIDE = ("COMPREHEND", "SAGEMAKER", "SAGEMAKER_RUNTIME", "SERVICE_QUOTAS")


@dataclasses.dataclass(frozen=True)
class EnforcingAWS:
    """Where it is, and how its root gets in.

    Attributes:
        beside: The local AWS that does Comprehend and SageMaker.
        environment: The variables that lead AWS's own tools there.
    """

    beside: LocalAWS
    environment: dict[str, str]

    def client(self, service: str) -> Any:
        """Return a boto3 client with the rights of the account's root."""
        return boto3.client(service, **_options(self.environment))


def _options(environment: dict[str, str]) -> dict[str, str]:
    """Return boto3's options for what variables say."""
    return {
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "verify": environment["AWS_CA_BUNDLE"],
        "region_name": environment["AWS_REGION"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }


@contextlib.contextmanager
def enforcing_aws(folder: Path, **settings: Any) -> Iterator[EnforcingAWS]:
    """Run it, with its files below ``folder``.

    Args:
        folder: An empty folder.
        settings: Of the local AWS beside it.

    Raises:
        UserError: Its environment cannot be made.
    """
    program = virtual_environment(_FOLDER, _LOCK) / "ministack"
    port = free_port()
    environment = {
        "AWS_ENDPOINT_URL": f"https://localhost:{port}",
        "AWS_CA_BUNDLE": str(folder / "ministack-tls" / "server.crt"),
        "AWS_ACCESS_KEY_ID": "root",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("LOCALAWS_S3", json.dumps(_options(environment)))
        beside = stack.enter_context(LocalAWS(**settings))
        own = {
            "AUTH": "true",
            "USE_SSL": "1",  # buckets refuse what comes without
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "TMPDIR": str(folder),
            **{f"AWS_ENDPOINT_URL_{name}": beside.url for name in _BESIDE},
        }
        own |= {name: value for name, value in environment.items() if name != "AWS_ENDPOINT_URL"}
        log = stack.enter_context((folder / "ministack.log").open("w"))
        process = subprocess.Popen(
            [program], env={**others, **own}, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        stack.callback(_end, process)
        _wait(process, port, folder / "ministack.log")
        yield EnforcingAWS(beside, environment)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"ministack did not start:\n{log.read_text()[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
