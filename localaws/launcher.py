"""Starts the local AWS for a test or a demonstration, and speaks with it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REGION = "eu-west-1"


class LocalAWS:
    """The local AWS in a child process, as a context manager.

    It listens on loopback only and ends with this process, however that ends.

        with LocalAWS(time_scale=0.0001) as aws:
            bucket = aws.client("s3").create_bucket(…)

    Args:
        port: TCP port; 0 takes a free one.
        images: Commands that stand for container images, by a pattern of the image
            (``{"*/my-image:*": "python train.py"}``), run in the folder of this process.
        log: File for the server's log; None: a temporary one.
        settings: Further settings by name, see :class:`localaws.settings.Settings`.

    Attributes:
        url: Where it listens, ``http://127.0.0.1:PORT``.
        log: The file of the server's log.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        images: Mapping[str, str] | None = None,
        log: Path | None = None,
        **settings: float,
    ) -> None:
        self._options = [f"--port={port}"]
        self._options += [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        self._options += [f"--image={key}={value}" for key, value in (images or {}).items()]
        self._own_log = log is None
        self.log = log or Path(tempfile.mkstemp(prefix="localaws-", suffix=".log")[1])
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> LocalAWS:
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "localaws", "--until-stdin-closes", *self._options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for this process; it then ends the other
            )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self._process.wait()
            raise RuntimeError(f"The local AWS did not start:\n{self.log.read_text()[-2000:]}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.communicate()  # closes its standard input, which ends it
        if self._own_log:
            self.log.unlink()

    def environment(self) -> dict[str, str]:
        """Return the environment variables that lead AWS's own tools here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def client(self, service: str, region: str = REGION, **options: Any) -> Any:
        """Return a boto3 client of this AWS; ``options`` are those of botocore's ``Config``."""
        import boto3
        from botocore.config import Config

        with _CLIENT_LOCK:  # boto3.client is not safe in threads
            return boto3.client(
                service,
                region_name=region,
                endpoint_url=self.url,
                aws_access_key_id="local",
                aws_secret_access_key="local",
                config=Config(**options),
            )

    def inject(self, service: str, operation: str = "*", **fault: Any) -> None:
        """Set a fault, see :class:`localaws.faults.Fault`.

        Raises:
            ValueError: The fault is not right.
        """
        self._control("POST", "faults", {"service": service, "operation": operation, **fault})

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are still to happen."""
        return list(self._control("GET", "faults"))

    def clear_faults(self) -> None:
        """Remove every fault."""
        self._control("DELETE", "faults")

    def calls(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the last calls, oldest first, as ``service``, ``operation``, ``status``, ``time``.

        Args:
            wanted: Only those with these values, ``operation="CreateEndpoint"`` for instance.
        """
        return list(self._control("GET", f"calls?{urllib.parse.urlencode(wanted)}"))

    def set(self, **settings: float) -> None:
        """Change settings.

        Raises:
            ValueError: A setting is unknown or its value is not right.
        """
        self._control("POST", "settings", settings)

    def reset(self) -> None:
        """Forget everything: resources, faults, calls; the settings stay."""
        self._control("POST", "reset")

    def kill(self) -> None:
        """End the server without giving it the time to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/localaws/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with _DIRECT.open(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None


_CLIENT_LOCK = threading.Lock()
# Loopback needs no proxy, whatever the environment says.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
