"""Child processes with a log each: started, watched, stopped together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bot.runtime.rasa_cli import (
    PROJECT_ROOT,
    project_environment,
)
from common import environment
from common.errors import UserError

HOST = "127.0.0.1"
STOP_SECONDS = 10.0
START_SECONDS = 300.0


# A server that does not answer for so long, so many times, is started again.
PROBE_SECONDS, SILENT_TRIES = 5.0, 4


@dataclass
class Child:
    """A server started by us, leader of its own process group, so that all of it can be stopped."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of the log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def start(
    name: str, arguments: list[str], *, log: Path, environ: dict[str, str] | None = None
) -> Child:
    """Start ``python ARGUMENTS`` in the project root, in a session of its own, writing to ``log``.

    The terminal's Ctrl-C thus reaches only us, and we stop the children in order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment.keep_private(log)
    os.truncate(log, 0)
    # To its end, also after a rotation that empties it.
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=PROJECT_ROOT,
            env={**project_environment(), "PYTHONUNBUFFERED": "1", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(name, process, log)


def stop(children: list[Child], seconds: float = STOP_SECONDS) -> None:
    """Stop the process groups of ``children``: politely, and after ``seconds`` by force."""
    for child in children:
        _signal_group(child, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    try:
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
    finally:  # a second Ctrl-C ends the waiting, never the killing
        for child in children:
            _signal_group(child, signal.SIGKILL)
            child.process.wait()


def _signal_group(child: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, number)


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into :class:`KeyboardInterrupt` while the body runs."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def require_free_ports(ports: dict[str, int], host: str = HOST) -> None:
    """Raise :class:`~common.errors.UserError` when a port of ``ports`` (option → port) is taken.

    ``host`` is where the first of them will be, the others are on the loopback interface.
    """
    if len(set(ports.values())) < len(ports):
        raise UserError("The bot and the action server need two different ports.")
    for (option, port), address in zip(ports.items(), (host, *[HOST] * len(ports)), strict=False):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as probe:
            # As the servers do: a port that only lingers from an ended connection is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise UserError(
                    f"Port {port} on {address} cannot be used ({error.strerror or error}). Stop "
                    f"what is running there, or choose another one: {option}."
                ) from error


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    """Return whether ``url`` answers 200.

    Raises:
        UserError: the server is there but has no model (Rasa answers 409 then, and stays up).
    """
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        if error.code == 409:
            raise UserError(
                "The bot could not load its model. Delete it (rm models/*.tar.gz), and start "
                "again: it is made anew."
            ) from error
        return False
    except OSError:
        return False


def _is_silent(url: str) -> bool:
    """Return whether nobody answers at ``url``, be it with an error."""
    try:
        urllib.request.urlopen(url, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return False
    except OSError:
        return True
    return False


def wait_until_ready(
    children: list[Child], urls: list[str], seconds: float = START_SECONDS
) -> None:
    """Wait until each of ``urls`` answers; fail early when one of ``children`` ends.

    Raises:
        UserError: a child ended, or not all were ready after ``seconds``; with the log's end.
    """
    waiting = list(urls)
    deadline = time.monotonic() + seconds
    while waiting:
        require_alive(children)
        try:
            waiting = [url for url in waiting if not _answers(url)]
        except UserError as error:
            raise UserError(f"{error}\n{_logs(children)}") from error
        if waiting and time.monotonic() > deadline:
            raise UserError(f"Not ready after {seconds:.0f} s.\n{_logs(children)}")
        time.sleep(0.1)


def keep_answering(
    children: list[Child],
    urls: list[str],
    again: list[Callable[[], Child]],
    say: Callable[[str], None],
    tries: int = SILENT_TRIES,
) -> None:
    """Start a child again that answers nobody at its address; ends by an exception alone.

    Args:
        children: that run; one that is started again takes the place of the other.
        urls, again: the address of each, and what starts it.
        say: is told of it.
        tries: after how many in vain.

    Raises:
        UserError: a child ended by itself, or does not start again.
    """
    silent = [0] * len(children)
    while True:
        for number, url in enumerate(urls):
            require_alive(children)
            silent[number] = silent[number] + 1 if _is_silent(url) else 0
            if silent[number] == tries:
                say(f"The {children[number].name} answers nobody, and is started again.")
                stop([children[number]], seconds=0)
                children[number] = again[number]()
                wait_until_ready(children, urls)
                silent[number] = 0
        time.sleep(0.5)


def require_alive(children: list[Child]) -> None:
    """Raise :class:`~common.errors.UserError` with the end of its log when a child has ended."""
    for child in children:
        status = child.process.poll()
        if status is not None:
            reason = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise UserError(f"The {child.name} has ended ({reason}).\n{_logs([child])}")


def _logs(children: list[Child]) -> str:
    return "\n".join(f"End of {os.path.relpath(child.log)}:\n{child.tail()}" for child in children)
