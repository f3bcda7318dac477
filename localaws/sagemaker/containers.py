"""SageMaker's side of a container's contract, with a child process for the container.

``train``: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
``serve``: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html

The process finds in ``SAGEMAKER_BASE_DIR`` what a container has in ``/opt/ml``, and serves on
``SAGEMAKER_BIND_TO_PORT`` instead of 8080.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import logging
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

from localaws import storage
from localaws.processes import Children
from localaws.settings import Settings

log = logging.getLogger(__name__)

_PING_TIMEOUT = 2.0
_OUTPUT_PATIENCE = 5.0  # for what a process has written before its end
_FAILURE_LENGTH = 1024
_HOST = "127.0.0.1"

LineSink = Callable[[str], None]


class ContainerError(Exception):
    """A container cannot be run; the message says why."""


class Host:
    """Where containers run, and which local command stands for which image.

    Args:
        settings: Knows the commands.
        children: Starts the processes.
        url: Where the local AWS is, for the containers.
    """

    def __init__(self, settings: Settings, children: Children, url: str) -> None:
        self._settings = settings
        self._children = children
        self._url = url
        self._ports: set[int] = set()
        self._lock = threading.Lock()

    def training(self, image: str, environment: Mapping[str, str], sink: LineSink) -> Training:
        """Return a container that can train, see :class:`Container`.

        Raises:
            ContainerError: No command stands for the image.
        """
        return Training(*self._parts(image, environment, sink))

    def serving(self, image: str, environment: Mapping[str, str], sink: LineSink) -> Serving:
        """Return a container that can serve, see :class:`Container`.

        Raises:
            ContainerError: No command stands for the image.
        """
        return Serving(*self._parts(image, environment, sink), port=self._port())

    def _parts(
        self, image: str, environment: Mapping[str, str], sink: LineSink
    ) -> tuple[Children, Path, Sequence[str], Mapping[str, str], LineSink]:
        """Return the arguments of :class:`Container`."""
        command = self._settings.command_of(image)
        if command is None:
            raise ContainerError(
                f"The local AWS knows no command for the image '{image}': start it with --image."
            )
        directory = Path(tempfile.mkdtemp(prefix="container-", dir=self._children.directory))
        return self._children, directory, command, self._with_aws(environment), sink

    def _port(self) -> int:
        """Return a free TCP port that no container had: the last may still be starting."""
        with self._lock:
            while True:
                with socket.socket() as probe:
                    probe.bind((_HOST, 0))
                    port: int = probe.getsockname()[1]
                if port not in self._ports:
                    self._ports.add(port)
                    return port

    def _with_aws(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            **environment,
        }


class Container:
    """A process with a directory of its own for ``/opt/ml``.

    Args:
        children: Starts the process.
        directory: What is ``/opt/ml`` to it; empty.
        command: What stands for the image's entry point.
        environment: Environment variables beside those of this process.
        sink: Gets each line that the process writes.
    """

    def __init__(
        self,
        children: Children,
        directory: Path,
        command: Sequence[str],
        environment: Mapping[str, str],
        sink: LineSink,
    ) -> None:
        self.directory = directory
        self._children = children
        self._command = command
        self._environment = {
            **os.environ,
            **environment,
            "SAGEMAKER_BASE_DIR": str(self.directory),
            "PYTHONUNBUFFERED": "1",
        }
        self._sink = sink
        self._process: subprocess.Popen[str] | None = None

    def start(self, argument: str, **environment: str) -> None:
        """Start the process, as ``docker run IMAGE ARGUMENT`` does.

        Raises:
            ContainerError: The command cannot be run.
        """
        try:
            self._process = self._children.start(
                [*self._command, argument],
                env={**self._environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise ContainerError(f"The container cannot be started: {error}") from error

    def follow(self) -> int:
        """Pass on what the process writes until it ends; return its exit status."""
        assert self._process is not None
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        status = self._process.wait()
        # As in a container, what it has started ends with it, and so does its output.
        self._children.stop(self._process)
        reader.join(_OUTPUT_PATIENCE)
        return status

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._sink(line.rstrip("\n"))

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the process, gently first."""
        if self._process is not None:
            self._children.stop(self._process)

    def remove(self) -> None:
        """End the process and remove its directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Training(Container):
    """A container that trains."""

    def prepare(self, request: Mapping[str, Any]) -> None:
        """Lay out the data and the configuration of a training job.

        Args:
            request: That of ``CreateTrainingJob``.

        Raises:
            ContainerError: A channel has no data.
        """
        config = self.directory / "input" / "config"
        for folder in (config, self.directory / "model", self.directory / "output" / "data"):
            folder.mkdir(parents=True)
        channels = {}
        for channel in request.get("InputDataConfig") or ():
            name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
            _download(source["S3Uri"], self.directory / "input" / "data" / name)
            channels[name] = {
                "ContentType": channel.get("ContentType", ""),
                "TrainingInputMode": "File",
                "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            }
        for name, content in (
            ("hyperparameters", request.get("HyperParameters") or {}),
            ("inputdataconfig", channels),
            ("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]}),
        ):
            (config / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def failure(self) -> str:
        """Return what the container left in ``output/failure``."""
        file = self.directory / "output" / "failure"
        if not file.is_file():
            return ""
        return file.read_text(encoding="utf-8", errors="replace")[:_FAILURE_LENGTH]

    def model(self) -> bytes:
        """Return ``model.tar.gz``."""
        return _packed(self.directory / "model")

    def output(self) -> bytes | None:
        """Return ``output.tar.gz``; None where the container put nothing into ``output/data``."""
        folder = self.directory / "output" / "data"
        return _packed(folder) if any(folder.iterdir()) else None


class Serving(Container):
    """A container that answers requests.

    Args:
        arguments: Those of :class:`Container`.
        port: The TCP port that it shall listen on.
    """

    def __init__(self, *arguments: Any, port: int) -> None:
        super().__init__(*arguments)
        self.port = port
        self._waiting = 0
        self._answered = threading.Condition()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[Serving]:
        """Say that a request is being answered, so that :meth:`retire` waits for it."""
        with self._answered:
            self._waiting += 1
        try:
            yield self
        finally:
            with self._answered:
                self._waiting -= 1
                self._answered.notify_all()

    def retire(self, patience: float) -> None:
        """End the process when the requests under way are answered, or after ``patience`` s."""
        with self._answered:
            self._answered.wait_for(lambda: self._waiting == 0, patience)
        self.remove()

    def serve(self, model_data_uri: str | None) -> None:
        """Unpack a model and start to serve it.

        Raises:
            ContainerError: There is no such model, or the command cannot be run.
        """
        folder = self.directory / "model"
        folder.mkdir()
        if model_data_uri:
            try:
                with tarfile.open(fileobj=io.BytesIO(storage.read(model_data_uri))) as files:
                    files.extractall(folder)
            except (storage.StorageError, tarfile.TarError, EOFError, OSError) as error:
                raise ContainerError(f"The model {model_data_uri} is no use: {error}") from error
        self.start("serve", SAGEMAKER_BIND_TO_PORT=str(self.port))
        threading.Thread(target=self.follow, daemon=True).start()

    def wait_until_healthy(self, patience: float) -> bool:
        """Return whether ``/ping`` answers 200 within ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while self.alive and time.monotonic() < deadline:
            try:
                if self.request("GET", "/ping", timeout=_PING_TIMEOUT)[0] == 200:
                    return True
            except (OSError, http.client.HTTPException):
                pass  # not yet
            time.sleep(0.05)
        return False

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> tuple[int, HTTPMessage, bytes]:
        """Return status, headers and body of the container's answer.

        Raises:
            OSError: It does not answer, or not in time.
            http.client.HTTPException: It does not speak HTTP.
        """
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


def _download(uri: str, folder: Path) -> None:
    """Download what begins with ``uri``, by the part of the key behind the last slash of that."""
    folder.mkdir(parents=True)
    bucket, prefix = storage.split(uri)
    try:
        keys = [key for key in storage.keys(uri) if not key.endswith("/")]
    except storage.StorageError:
        keys = []
    if not keys:
        raise ContainerError(
            f'No S3 objects found under S3 URL "{uri}" given in input data source.'
        )
    for key in keys:
        target = folder / key[prefix.rfind("/") + 1 :]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(storage.read(f"s3://{bucket}/{key}"))


def _packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as files:
        for path in sorted(folder.iterdir()):
            files.add(path, arcname=path.name)
    return buffer.getvalue()
