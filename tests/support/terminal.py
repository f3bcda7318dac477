"""A terminal in which the shell blocks of a page are run as a reader runs them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import TracebackType

from tests.support.documented import Block

# Of the tests, not of a reader: what decides on a bot, and any way to an account on AWS.
FOREIGN = ("AWS_", "BOT_", "MOBILE_", "PYTEST_", "DIRECTORY_", "ACTIONS_", "VIRTUAL_ENV", "PYTHON")
STOP_SECONDS = 60.0


class Terminal:
    """A bash in ``folder``; variables and working directory carry over from block to block.

    A command that stays is run beside the others, in a process group of its own. Leaving the
    context sends those what Ctrl-C sends, and expects that nothing is left of them.

    Args:
        folder: The working directory.
        workspace: An empty folder for scripts and output.
        environ: Changes of the environment.
    """

    def __init__(self, folder: Path, workspace: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self._workspace = workspace
        self._mark = uuid.uuid4().hex
        self._count = 0
        self._staying: list[tuple[int, Block, Path]] = []
        self.output = ""
        # A reader has not activated the environment of the tests.
        path = environ.get("PATH", os.environ["PATH"]).split(os.pathsep)
        self.path = os.pathsep.join(one for one in path if one != f"{sys.prefix}/bin")
        (workspace / ".curlrc").write_text("fail-with-body\n", encoding="utf-8")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        self._environ = {
            **kept,
            "CURL_HOME": str(workspace),  # an answer of 400 or more is a failure
            "TERMINAL_OF_TEST": self._mark,
            # No block asks the real AWS, whatever is configured on this machine.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            **environ,
            "PATH": self.path,
        }
        self._bash = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        self._tell("set -m")  # what is started beside gets a process group, and hears of Ctrl-C

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._stop_all(strict=kind is None)
        finally:
            for pid in self._left():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._bash.kill()
            self._bash.wait()

    def run(self, block: Block, seconds: float = 600) -> str:
        """Run a block to its end, or until it is ready if it stays; return what it printed.

        Raises:
            AssertionError: a command of it failed, or it took longer than ``seconds``.
        """
        if block.replaces:
            self._stop_all(strict=True)
        self._count += 1
        script, log, done = (
            self._workspace / f"{self._count}.{end}" for end in ("sh", "log", "done")
        )
        script.write_text(block.text, encoding="utf-8")
        source = f"set -eo pipefail; source '{script}'"
        if block.stays:
            # Not finished before it is stopped; a subshell, as it is another terminal.
            self._tell(f"({source}) </dev/null >'{log}' 2>&1 & echo $! >'{done}.new'")
            self._tell(f"mv '{done}.new' '{done}'")
        else:
            self._tell(
                f"{source} </dev/null >'{log}' 2>&1; set +eo pipefail; "
                f"echo 0 >'{done}.new'; mv '{done}.new' '{done}'"
            )
        deadline = time.monotonic() + seconds
        while not done.exists() or (block.stays and "Ctrl-C" not in self._read(log)):
            output = self._read(log)
            ended = self._bash.poll() is not None or (
                block.stays and done.exists() and not self._runs(int(done.read_text()))
            )
            assert not ended, f"{block} failed:\n{block.text}\n{output[-4000:]}"
            assert time.monotonic() < deadline, f"{block}: {seconds} s\n{output[-4000:]}"
            time.sleep(0.05)
        if block.stays:
            self._staying.append((int(done.read_text()), block, log))
        output = self._read(log)
        self.output += output
        return output

    def _tell(self, command: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{command}\n")
        self._bash.stdin.flush()

    @staticmethod
    def _read(log: Path) -> str:
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    @staticmethod
    def _runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def _stop_all(self, strict: bool) -> None:
        while self._staying:
            group, block, log = self._staying.pop()
            assert self._runs(group) or not strict, f"{block} has ended:\n{self._read(log)[-4000:]}"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGINT)
            deadline = time.monotonic() + STOP_SECONDS
            while self._runs(group) and time.monotonic() < deadline:
                time.sleep(0.05)
            if strict:
                output = self._read(log)
                assert not self._runs(group), f"{block} does not stop:\n{output[-4000:]}"
                assert "Traceback" not in output, f"{block}:\n{output[-4000:]}"
        if strict:
            deadline = time.monotonic() + 10
            while (left := self._left()) and time.monotonic() < deadline:
                time.sleep(0.1)
            commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
            assert not left, f"left behind: {commands}"

    def _left(self) -> list[int]:
        """Processes that were started from here and still run, without the shell itself."""
        mark, found = f"TERMINAL_OF_TEST={self._mark}".encode(), []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environ.read_bytes() and int(environ.parent.name) != self._bash.pid:
                    found.append(int(environ.parent.name))
            except (OSError, ValueError):
                continue
        return found


def lend_environment(clone: Path, project: Path) -> None:
    """Give ``clone`` a .venv with the packages of the one of ``project``, and its own code.

    Its stamps say that all is installed, so that ``make setup`` takes what is there.
    """
    ours, theirs = project / ".venv", clone / ".venv"
    subprocess.run([ours / "bin" / "python", "-m", "venv", "--without-pip", theirs], check=True)
    packages = next(theirs.glob("lib/python*/site-packages"))
    lent = ours / packages.relative_to(theirs)
    # A folder named here is searched, but its own .pth files are not read: not that of our code.
    (packages / "lent.pth").write_text(f"{clone}\n{lent}\n", encoding="utf-8")
    for program in (ours / "bin").iterdir():
        copy = theirs / "bin" / program.name
        if copy.exists() or not program.is_file():
            continue
        start = program.read_bytes()[:2]
        if start == b"#!":
            text = program.read_text(encoding="utf-8").replace(str(ours), str(theirs))
            copy.write_text(text, encoding="utf-8")
            copy.chmod(0o755)
        else:
            copy.symlink_to(program)
    for name in (".uv-stamp", ".packages-stamp", ".project-stamp"):
        (theirs / name).touch()


def clone_project(project: Path, clone: Path) -> None:
    """Clone ``project`` as it is now, changes that are not committed included."""
    subprocess.run(["git", "clone", "--quiet", "--shared", project, clone], check=True)
    kept = {path.relative_to(project) for path in files_of(project)}
    for name in kept:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / name, clone / name)
    for path in files_of(clone):
        if path.relative_to(clone) not in kept:
            path.unlink()


def files_of(project: Path) -> list[Path]:
    """Return the files of a checkout, in order, without those that git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    paths = (project / name for name in sorted({*listed.stdout.split("\0")} - {""}))
    return [path for path in paths if path.is_file()]
