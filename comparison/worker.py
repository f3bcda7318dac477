"""A child process that trains, scores and measures, so that a crash ends one measurement alone.

Not a :class:`concurrent.futures.ProcessPoolExecutor`: that can neither end a training that it has
begun, when the run is interrupted, nor give each child an environment and a log of its own.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comparison.candidates import Facts
    from comparison.scores import Run
    from comparison.settings import Spec
    from comparison.splits import Labelled

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS_TO_END = 10.0


class WorkerError(Exception):
    """A call did not return.

    Attributes:
        error: Type and message of what was raised, or how the process ended.
        traceback: Where it was raised, or the end of the process's output.
    """

    def __init__(self, error: str, traceback: str) -> None:
        super().__init__(error)
        self.error = error
        self.traceback = traceback


class Worker:
    """A process of its own, kept from call to call so that libraries are imported once.

    Attributes:
        started: When it was started, in seconds of the system's monotonic clock.

    Args:
        log: File that its output is appended to.
        environ: Environment variables for it; None unsets one.
    """

    def __init__(self, log: Path, environ: Mapping[str, str | None]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        changed = {**os.environ, "PYTHONPATH": path, **environ}
        self.started = time.monotonic()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                env={name: value for name, value in changed.items() if value is not None},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
            )
        assert self._process.stdin
        assert self._process.stdout
        self._calls, self._answers = self._process.stdin, self._process.stdout

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a module's function returns there.

        Raises:
            WorkerError: It raised, or the process ended; the process is of no use then.
        """
        self.begin(function, *arguments)
        return self.result()

    def begin(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a call, whose :meth:`result` must be taken before the next."""
        with contextlib.suppress(OSError):  # the result will tell
            pickle.dump((function, arguments), self._calls)
            self._calls.flush()

    def fileno(self) -> int:
        """Return what ``select`` waits for: readable as soon as there is a result."""
        return self._answers.fileno()

    def result(self) -> Any:
        """Wait for what the call that was begun returns; raises as :meth:`call` does."""
        try:
            succeeded, value = pickle.load(self._answers)
        except (EOFError, OSError, pickle.UnpicklingError):
            code = self._process.wait()
            reason = f"signal {-code}" if code < 0 else f"exit status {code}"
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise WorkerError(f"The process ended by itself ({reason}).", tail) from None
        if not succeeded:
            raise WorkerError(*value)
        return value

    @property
    def is_alive(self) -> bool:
        """Whether it can be called."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process, whatever it does; what it has in temporary folders is removed."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_END)
        self._process.kill()
        self._process.communicate()


# --- in the child -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A training, and what is scored of it."""

    spec: Spec
    train: Labelled
    test: Labelled
    seed: int
    intents: list[str]  # all of the material
    off_topic: str | None  # the off-topic intent, where there is one
    threads: int  # that the libraries may use
    keep: Path | None  # where the model is to stay; None: nowhere


def train_and_score(job: Job) -> dict[str, Run | Facts]:
    """Train, score, and keep the model if so asked."""
    from comparison import candidates, scores

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / job.spec.key
        folder.mkdir()
        facts = candidates.fit(job.spec, job.train, job.seed, folder)
        classifier = candidates.load(job.spec, folder, job.threads)
        rankings = candidates.rank_all(classifier, job.spec, job.test.texts)
        run = scores.score(rankings, job.test.intents, job.intents, job.off_topic, len(job.train))
        if job.keep:  # what is half copied is never taken for a model
            part = job.keep.with_name(f"{job.keep.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(folder, part)
            part.rename(job.keep)
    return {"run": run, "facts": facts}


def _serve() -> None:
    """Answer calls until the other end closes."""
    # What libraries print goes to the log; the pipe is for answers alone.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Not the system's way, which leaves temporary files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            result = True, function(*arguments)
        except Exception as error:
            message = "".join(traceback.format_exception_only(type(error), error)).strip()
            result = False, (message, traceback.format_exc())
        pickle.dump(result, answers)
        answers.flush()


if __name__ == "__main__":
    _serve()
