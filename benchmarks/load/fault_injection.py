"""What users notice when a part of the bot goes down, or is attacked.

    python -m benchmarks.load.fault_injection [--only NAME …] [--users 8] [--messages 10000]
                                              [--out FILE]

While users talk (benchmarks/load/users.py), one thing happens; what was killed is started again at
once, as systemd or Kubernetes would. Users send a message again, with its idempotency key, until it
is answered. Nothing may be lost, doubled or answered to somebody else; printed are the time until
everybody was answered again, and the longest that anybody waited.

* ``actions``, ``bot``: kill -9 of the action server, and of the bot, where there is one of each;
* ``cluster-bot``, ``cluster-actions``, ``postgresql``, ``redis``: kill -9 of one of two bots, of
  one of two action servers, of the database and of the lock store of a cluster (infra/cluster);
* ``disk``: no space left for SQLite, for some seconds (a small file system in memory: needs root);
* ``model``: damaged models, and then a good one, are loaded into the bot that runs;
* ``slow``: clients that send a byte now and then, on more connections than there are users;
* ``fuzz``: 10 000 messages of all kinds of nonsense;
* ``http``: 20 000 requests of raw HTTP (raw_http.py) to both servers in development and as in
  production, and to a cluster behind nginx.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import httpx

from benchmarks.load import raw_http, scenarios, servers
from benchmarks.load.malformed import nonsense
from benchmarks.load.scenarios import Step
from benchmarks.load.servers import MOBILE_PATH, Site
from benchmarks.load.users import Crowd, Outcome
from bot import processes
from bot.rasa_model import ensure_model
from bot.server import SAMPLE
from common.errors import UserError

# Users talk so long before and after.
CALM_SECONDS = 4.0
# Messages of somebody who talks nonsense.
CONVERSATION = 25
DISK_MEGABYTES, FULL_SECONDS = 8, 5.0
# Longer than Sanic lets headers take (60 s).
SLOW_CONNECTIONS, SLOW_SECONDS = 200, 75.0


def steps(draw: random.Random) -> Iterator[Step]:
    """Give what a user says."""
    return scenarios.endless(_directory(), draw)


@functools.cache
def _directory() -> scenarios.Directory:
    return scenarios.Directory.read(SAMPLE)


def under_fault(site: Site, name: str, users: int, fault: Callable[[], float | None]) -> Outcome:
    """Let users talk, do ``fault``, and return what they noticed of it.

    Args:
        fault: returns the time at which it has happened, None for when it was called.
    """
    tokens = [site.provider.token() for _ in range(users)]
    with Crowd(site.base, tokens, steps) as crowd:
        crowd.answered_since(time.monotonic())
        time.sleep(CALM_SECONDS)
        begin = time.monotonic()
        begin = fault() or begin
        recovered = crowd.answered_since(begin)
        time.sleep(CALM_SECONDS)
    return crowd.outcome(name, recovered)


def kill(site: Site, name: str) -> None:
    """Kill -9 a server of ``site``."""
    process = site.children[name].process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


# --- what happens -----------------------------------------------------------------------------


def actions(site: Site, users: int) -> list[Outcome]:
    """Kill the only action server."""

    def fault() -> None:
        kill(site, "actions")
        site.start_actions()

    return [under_fault(site, "action server killed", users, fault)]


def bot(site: Site, users: int) -> list[Outcome]:
    """Kill the only bot."""

    def fault() -> None:
        kill(site, "bot")
        site.start_bot(ensure_model())

    return [under_fault(site, "bot killed", users, fault)]


def part_of_cluster(part: str) -> Callable[[Site, int], list[Outcome]]:
    """Kill a part of a cluster."""

    def run(site: Site, users: int) -> list[Outcome]:
        cluster = site.cluster
        assert cluster is not None

        def fault() -> None:
            cluster.kill(part)
            cluster.start(part, wait=False)

        outcome = under_fault(site, f"cluster: {part} killed", users, fault)
        cluster.wait(part)
        return [outcome]

    return run


def disk(site: Site, users: int) -> list[Outcome]:
    """Leave no space to the conversations' database, for a while."""
    ballast = site.folder / "disk" / "ballast"

    def fault() -> float:
        begin = None
        with ballast.open("wb", buffering=0) as file:
            while begin is None or time.monotonic() < begin + FULL_SECONDS:
                try:
                    file.write(bytes(4096))
                except OSError:  # full; what SQLite gives back now and then is taken as well
                    begin = begin or time.monotonic()
                    time.sleep(0.01)
        ballast.unlink()
        return begin

    return [under_fault(site, f"no space for {FULL_SECONDS:.0f} s", users, fault)]


def model(site: Site, users: int) -> list[Outcome]:
    """Load models that are damaged, then the good one, through Rasa's HTTP API."""
    good = ensure_model()
    content = good.read_bytes()
    damaged = {
        "cut off": content[: len(content) // 2],
        "not an archive": secrets.token_bytes(10_000),
        "without its parts": _archive({"metadata.json": b"{}"}),
        "empty": b"",
    }
    outcomes = []
    for name, data in {**damaged, "whole": content}.items():
        path = site.folder / "reloaded.tar.gz"
        path.write_bytes(data)
        status = 204 if name == "whole" else 400

        def fault(path: Path = path, status: int = status) -> None:
            url = f"{site.base}/model?token={servers.API_TOKEN}"
            response = httpx.put(url, json={"model_file": str(path)}, timeout=120, trust_env=False)
            if response.status_code != status:
                raise UserError(f"PUT /model gave {response.status_code}, not {status}.")

        outcomes.append(under_fault(site, f"model reloaded: {name}", users, fault))
    return outcomes


def _archive(files: dict[str, bytes]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
                archive.add(Path(folder) / name, name)
        return path.read_bytes()


def slow(site: Site, users: int) -> list[Outcome]:
    """Keep many connections busy with requests that never end (as slowloris does)."""
    request = (
        f"POST {MOBILE_PATH}/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {site.provider.token()}\r\nContent-Length: 5000\r\n"
    ).encode()
    stopped = threading.Event()
    open_now: list[socket.socket] = []

    def drip() -> None:
        """One byte a second on each: half of them within the headers, half within the body."""
        for number in range(SLOW_CONNECTIONS):
            connection = socket.create_connection((processes.HOST, site.port), timeout=10)
            connection.sendall(request + (b"\r\n" if number % 2 else b""))
            open_now.append(connection)
        while not stopped.wait(1):
            for connection in list(open_now):
                try:
                    connection.sendall(b"{")
                except OSError:
                    open_now.remove(connection)

    thread = threading.Thread(target=drip)

    def fault() -> None:
        thread.start()
        time.sleep(SLOW_SECONDS)

    try:
        outcome = under_fault(site, f"{SLOW_CONNECTIONS} slow clients", users, fault)
    finally:
        stopped.set()
        thread.join()
        left = len(open_now)
        for connection in open_now:
            connection.close()
    outcome.name += f" ({SLOW_CONNECTIONS - left} turned out after {SLOW_SECONDS:.0f} s)"
    return [outcome]


def fuzz(site: Site, users: int, messages: int = 10_000) -> list[Outcome]:
    """Send nonsense, with questions that make sense in between, in conversations of 25 messages.

    Rasa reads a conversation from the tracker store with each of its messages: one of thousands
    would test that.
    """
    rounds = -(-messages // (users * CONVERSATION))
    outcomes, refused = [], 0

    def talk(draw: random.Random) -> Iterator[Step]:
        sense = (one for one in steps(draw) if one.text.startswith("Qui est"))
        return itertools.islice(nonsense(draw, sense), CONVERSATION)

    for number in range(rounds):
        tokens = [site.provider.token() for _ in range(users)]
        with Crowd(site.base, tokens, talk, pause=0, seed=number * users) as crowd:
            crowd.finish()
        outcomes.append(crowd.outcome("", 0.0))
        refused += sum(user.refused for user in crowd.users)
    return [
        Outcome(
            f"{users * rounds * CONVERSATION} messages of nonsense ({refused} refused)",
            messages=sum(one.messages for one in outcomes),
            again=sum(one.again for one in outcomes),
            apologies=sum(one.apologies for one in outcomes),
            recovered=0.0,
            longest=max(one.longest for one in outcomes),
            problems=[problem for one in outcomes for problem in one.problems],
        )
    ]


def http(number: int) -> Iterator[Outcome]:
    """Send ``number`` requests of all kinds, a fifth of them to each server; give what came of it.

    Nobody talks meanwhile but who must be answered.
    """
    path = ensure_model()
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        for name, production in (("development", ""), ("production", "1")):
            site = Site("ours", "mobile", Path(scratch) / name)
            site.production = production
            with servers.up(site, path):
                pids = {part: functools.partial(site.processes, part) for part in site.children}
                secret = site.environ["ACTIONS_SECRET"]
                token = site.provider.token
                for target in (
                    raw_http.bot(f"bot, {name}", site.port, pids["bot"], token, servers.API_TOKEN),
                    raw_http.actions(
                        f"action server, {name}", site.actions_port, pids["actions"], secret
                    ),
                ):
                    yield spoken_to(target, number // 5)
        with servers.clustered(path, Path(scratch) / "cluster") as site:
            cluster = site.cluster
            assert cluster is not None
            port = cluster.parts["nginx"].port

            def all_of_it() -> list[int]:
                return site.processes("bot") + site.processes("actions")

            token = site.provider.token
            yield spoken_to(raw_http.bot("cluster", port, all_of_it, token), number // 5)


def spoken_to(target: raw_http.Target, number: int) -> Outcome:
    """Send ``number`` requests to ``target``."""
    before, begin = target.memory, time.monotonic()
    raw_http.speak(target, number)
    grown = (target.memory - before) / 1e6
    statuses = ", ".join(
        f"{status or 'hung up'}: {count}" for status, count in sorted(target.statuses.items())
    )
    return Outcome(
        f"{target.name}: {number} requests in {time.monotonic() - begin:.0f} s, {grown:+.0f} MB "
        f"({statuses})",
        messages=number,
        again=0,
        apologies=0,
        recovered=0.0,
        longest=0.0,
        problems=target.problems,
    )


FAULTS: dict[str, Callable[..., Iterable[Outcome]]] = {
    "actions": actions,
    "bot": bot,
    "disk": disk,
    "model": model,
    "slow": slow,
    "fuzz": fuzz,
    "http": http,
    "cluster-bot": part_of_cluster("bot-1"),
    "cluster-actions": part_of_cluster("actions-1"),
    "postgresql": part_of_cluster("postgresql"),
    "redis": part_of_cluster("redis"),
}
OF_CLUSTER = ("cluster-bot", "cluster-actions", "postgresql", "redis")


@contextlib.contextmanager
def small_disk(site: Site) -> Iterator[None]:
    """Keep the conversations of ``site`` on a small file system in memory while the body runs.

    Raises:
        UserError: it cannot be had.
    """
    folder = site.folder / "disk"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"A file system for the fault « disk » needs root: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def run(name: str, users: int, messages: int) -> Iterable[Outcome]:
    """Start what the fault needs, let it happen, and return what users noticed."""
    if name == "http":
        return http(2 * messages)
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch, contextlib.ExitStack() as stack:
        folder, path = Path(scratch) / "site", ensure_model()
        if name in OF_CLUSTER:
            site = stack.enter_context(servers.clustered(path, folder))
            return FAULTS[name](site, users)
        site = Site("ours", "mobile", folder)
        site.folder.mkdir()
        if name == "disk":
            stack.enter_context(small_disk(site))
            site.events = folder / "disk" / "events.db"
        stack.enter_context(servers.up(site, path))
        return fuzz(site, users, messages) if name == "fuzz" else FAULTS[name](site, users)


def main() -> None:
    """Let the faults happen, one after the other, and print what users noticed of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument(
        "--messages",
        type=int,
        default=10_000,
        help="of the fault « fuzz »; twice as many of « http »",
    )
    parser.add_argument("--out", type=Path, help="write the report there as well")
    given = parser.parse_args()
    lines, failed = [], False
    for name in given.only:
        try:
            outcomes = run(name, given.users, given.messages)
        except UserError as error:
            failed = True
            lines.append(f"{name}: not possible: {error}")
            print(lines[-1], flush=True)
            continue
        for outcome in outcomes:
            failed = failed or bool(outcome.problems) or outcome.recovered is None
            lines.append(str(outcome))
            print(lines[-1], flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.exit(failed)


if __name__ == "__main__":
    main()
