"""Execution environments: child processes that run the zip of a Lambda function."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import select
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path

from localaws.processes import Children

_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
_IMPORT_SECONDS = 60  # AWS allows 10, on a machine with less to do
# What AWS's Python runtime brings: boto3 and what that needs.
_RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")


@dataclasses.dataclass(frozen=True)
class Function:
    """What an execution environment is made from.

    Attributes:
        name: The function's name.
        version: Its version, ``$LATEST`` for instance.
        region: Its region.
        handler: ``module.function``.
        code: The zip file.
        variables: Its environment variables.
        memory: Megabytes (not enforced).
        timeout: Seconds that a call may take.
        log_group: Name of its log group.
        json_logs: Whether the runtime logs in JSON.
    """

    name: str
    version: str
    region: str
    handler: str
    code: bytes = dataclasses.field(repr=False)
    variables: Mapping[str, str] = dataclasses.field(hash=False)
    memory: int
    timeout: float
    log_group: str
    json_logs: bool


@dataclasses.dataclass(frozen=True)
class Result:
    """What a call came to.

    Attributes:
        payload: The answer or the error, in JSON.
        failed: Whether it is an error.
        log: What the function wrote.
        seconds: How long it took.
    """

    payload: str
    failed: bool
    log: str
    seconds: float


class Environment:
    """A child process that answers one call after another, as a warm Lambda does.

    Args:
        function: What to run.
        url: Where the local AWS is.
        children: Starts the process.

    Attributes:
        access_key: The AWS access key by which its calls are known.
        log_stream: Name of its log stream.
        usable: Whether it can take another call.
    """

    def __init__(self, function: Function, url: str, children: Children) -> None:
        self.function = function
        self.access_key = f"lambda{uuid.uuid4().hex}"
        self.log_stream = (
            f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{function.version}]{uuid.uuid4().hex}"
        )
        self.usable = True
        self._imported = False
        self._children = children
        directory = children.directory
        code = _unpacked(function.code, directory)
        events_end, events = os.pipe()
        self._results, results_end = os.pipe()
        self._events = os.fdopen(events, "wb")
        log_file = directory / f"{self.access_key}.log"
        with log_file.open("wb") as log:
            self._process = children.start(
                [
                    *(sys.executable, "-I", "-S", "-u", str(_BOOTSTRAP)),
                    *(str(events_end), str(results_end), str(code), str(_runtime(directory))),
                ],
                cwd=code,
                env=self._variables(url, code),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(events_end, results_end),
            )
        os.close(events_end)
        os.close(results_end)
        self._log = log_file.open("rb")

    def call(self, event: str, request_id: str, function_arn: str) -> Result:
        """Run the handler on ``event`` (JSON)."""
        begin = time.monotonic()
        try:
            if not self._imported:  # which does not count as the function's time
                self._read_line(begin + _IMPORT_SECONDS)
                self._imported = True
                begin = time.monotonic()
            request = {
                "event": event,
                "request_id": request_id,
                "deadline_ms": (time.time() + self.function.timeout) * 1000,
                "function_arn": function_arn,
                "log_stream": self.log_stream,
            }
            self._events.write(json.dumps(request).encode() + b"\n")
            self._events.flush()
            line = self._read_line(begin + self.function.timeout)
        except (BrokenPipeError, EOFError):
            self.usable = False
            kind, message = "Runtime.ExitError", f"Runtime exited with error: {self._end()}"
        except TimeoutError:
            self.crash()
            kind = "Sandbox.Timedout"
            message = f"Task timed out after {self.function.timeout:.2f} seconds"
        else:
            result = json.loads(line)
            self.usable = result["usable"]
            return Result(
                result["payload"], result["failed"], self._written(), time.monotonic() - begin
            )
        error = {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {message}"}
        return Result(json.dumps(error), True, self._written(), time.monotonic() - begin)

    def crash(self) -> None:
        """Kill the process, whatever it is doing."""
        self.usable = False
        self._process.kill()

    def close(self) -> None:
        """End the process and tidy up."""
        self._children.stop(self._process, patience=0)
        with contextlib.suppress(BrokenPipeError):
            self._events.close()
        os.close(self._results)
        self._log.close()
        os.unlink(self._log.name)

    def _read_line(self, deadline: float) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select(
                [self._results], [], [], max(0, deadline - time.monotonic())
            )
            if not ready:
                raise TimeoutError
            part = os.read(self._results, 1 << 16)
            if not part:
                raise EOFError
            line += part
        return line

    def _end(self) -> str:
        """Return how the process ended, in the words of AWS."""
        status = self._process.wait()
        return f"exit status {status}" if status >= 0 else "signal: killed"

    def _written(self) -> str:
        """Return what was written to the log since the last time."""
        return self._log.read().decode("utf-8", errors="replace")

    def _variables(self, url: str, code: Path) -> dict[str, str]:
        function = self.function
        return {
            **function.variables,
            "_HANDLER": function.handler,
            "LAMBDA_TASK_ROOT": str(code),
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": function.region,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_SESSION_TOKEN": "local",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
            "AWS_LAMBDA_LOG_FORMAT": "JSON" if function.json_logs else "Text",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PATH": os.defpath,
        }


_FILES = threading.Lock()  # two environments of a function may start at once


def _unpacked(code: bytes, directory: Path) -> Path:
    """Return the directory where a zip file is unpacked."""
    target = directory / hashlib.sha256(code).hexdigest()[:16]
    with _FILES:
        if not target.exists():
            unfinished = target.with_suffix(".unfinished")
            with zipfile.ZipFile(io.BytesIO(code)) as archive:
                archive.extractall(unfinished)
            unfinished.rename(target)
    return target


def _runtime(directory: Path) -> Path:
    """Return a directory with boto3 and what it needs, and nothing else of this Python."""
    target = directory / "runtime"
    with _FILES:
        if not target.exists():
            target.mkdir()
            for name in _RUNTIME_PACKAGES:
                spec = importlib.util.find_spec(name)
                assert spec is not None
                assert spec.origin is not None
                source = Path(spec.origin)
                source = source.parent if source.name == "__init__.py" else source
                (target / source.name).symlink_to(source)
    return target
