"""Parts go down while users talk: nothing is lost, doubled or told to somebody else.

The quick form of ``benchmarks/load/fault_injection.py``, on one bot with its action
server, real processes.
"""

from __future__ import annotations

import itertools
import os
import random
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.load import raw_http
from benchmarks.load.malformed import nonsense
from benchmarks.load.scenarios import Step, tap
from benchmarks.load.users import Crowd, Outcome
from tests.support import HOST
from tests.support.mobile_server import PREFIX
from tests.support.production_servers import SECRET, Servers
from tests.support.tokens import RSA

USERS = 3
REQUEST_SECONDS = 2
MESSAGES = 80
PEOPLE = [f"P{number}" for number in range(1, 9)]


@pytest.fixture(scope="module")
def servers(
    rules_model: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Servers]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANIC_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
        with Servers(rules_model, tmp_path_factory.mktemp("faults")).running() as running:
            yield running


def talk(draw: random.Random) -> Iterator[Step]:
    """Ask about somebody, then for a detail of whom only that conversation can know."""
    while True:
        person = draw.choice(PEOPLE)
        card = {"type": "person_card", "person": {"id": person}}
        yield tap(f'/WHO_IS{{"collaborator_id": "{person}"}}', "Qui ?", card=card)
        yield tap('/WHO_IS{"detail": "agency"}', "Où ?", card={**card, "detail": "agency"})


def crowd(servers: Servers, steps: Callable[[random.Random], Iterator[Step]] = talk) -> Crowd:
    tokens = [RSA.token(sub=f"{time.monotonic()} {number}") for number in range(USERS)]
    return Crowd(f"http://{HOST}:{servers.port}", tokens, steps, pause=0.02)


def noticed(servers: Servers, fault: Callable[[], None]) -> Outcome:
    """Let users talk before, during and after ``fault``; nothing may have gone wrong."""
    with crowd(servers) as users:
        assert users.answered_since(time.monotonic()) is not None, users.problems
        begin = time.monotonic()
        fault()
        recovered = users.answered_since(begin)
    outcome = users.outcome("…", recovered)
    assert outcome.recovered is not None, outcome
    assert not outcome.problems, outcome
    return outcome


def kill(servers: Servers, name: str) -> None:
    os.kill(servers.processes[name].pid, signal.SIGKILL)
    servers.processes[name].wait()


def test_killed_servers(servers: Servers) -> None:
    def fault() -> None:
        kill(servers, "actions")
        time.sleep(0.5)  # long enough for somebody to be told
        servers.start_actions()
        kill(servers, "bot")
        servers.start_bot()

    outcome = noticed(servers, fault)
    assert outcome.apologies > 0
    assert outcome.again > 0


def test_no_space(servers: Servers) -> None:
    """As root, who may write what is kept for root, or on any file system: by a limit of sizes."""
    pid = servers.processes["bot"].pid

    def limit(size: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def fault() -> None:
        limit(1)
        assert httpx.get(f"{servers.url}/ready").status_code == 503
        time.sleep(1)
        limit(resource.RLIM_INFINITY)

    assert noticed(servers, fault).again > 0


def test_damaged_models_and_a_good_one(servers: Servers, tmp_path: Path) -> None:
    """The model in use stays in use; after a good one nothing is forgiven that was not before."""
    content = Path(servers.model).read_bytes()
    url = f"http://{HOST}:{servers.port}/model"

    def put(name: str, data: bytes) -> int:
        path = tmp_path / f"{name}.tar.gz"
        path.write_bytes(data)
        body, token = {"model_file": str(path)}, {"token": "token of the api"}
        return httpx.put(url, json=body, params=token, timeout=120).status_code

    def fault() -> None:
        damaged = {"half": content[: len(content) // 2], "other": b"\x1f\x8b no gzip", "empty": b""}
        assert [put(name, data) for name, data in damaged.items()] == [400, 400, 400]
        assert put("whole", content) == 204

    noticed(servers, fault)
    test_no_space(servers)


def test_nonsense(servers: Servers) -> None:
    def steps(draw: random.Random) -> Iterator[Step]:
        return itertools.islice(nonsense(draw, talk(draw)), MESSAGES)

    with crowd(servers, steps) as users:
        users.finish()
    outcome = users.outcome("…", 0.0)
    assert not outcome.problems, outcome
    refused = sum(user.refused for user in users.users)
    assert refused > 0
    assert outcome.messages + refused == USERS * MESSAGES


def test_whatever_is_sent_is_answered(servers: Servers) -> None:
    """Raw HTTP, well-formed and not, signed and not, to both servers."""

    def pids(name: str) -> Callable[[], list[int]]:
        return lambda: [servers.processes[name].pid]

    ports = servers.port, servers.actions_port
    for target in (
        raw_http.bot(
            "bot", ports[0], pids("bot"), lambda user: RSA.token(sub=user), "token of the api"
        ),
        raw_http.actions("actions", ports[1], pids("actions"), SECRET),
    ):
        raw_http.speak(target, 200)
        assert not target.problems, "\n".join(target.problems)
        assert {200, 400, 401, 404} <= target.statuses.keys()
    for name in ("bot", "actions"):
        log = servers.log(name).read_text()
        assert "Traceback" not in log
        assert raw_http.QUESTION not in log


def test_slow_clients_are_turned_out(servers: Servers) -> None:
    head = f"POST {PREFIX}/messages HTTP/1.1\r\nHost: x\r\nX-Padding: ".encode()
    slow = [socket.create_connection((HOST, servers.port), timeout=5) for _ in range(50)]

    def fault() -> None:
        for connection in slow:
            connection.sendall(head)
        waiting, deadline = set(slow), time.monotonic() + 60
        while waiting:
            assert time.monotonic() < deadline, f"{len(waiting)} are still connected"
            for connection in list(waiting):
                try:
                    connection.sendall(b"x")
                except OSError:
                    waiting.remove(connection)
            time.sleep(0.2)

    try:
        noticed(servers, fault)
        assert {connection.recv(12) for connection in slow[:10]} <= {b"HTTP/1.1 408", b""}
    finally:
        for connection in slow:
            connection.close()
