"""Every route, every body, every header: raw bytes to a server, well-formed and not.

What is held to: each request that has come whole gets an answer below 500, whatever has not is let
go of; others are answered meanwhile, and nothing grows or spins.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from benchmarks import baselines

MOBILE = "/webhooks/mobile/v1"
QUESTION = "Qui connaît Java ?"
# Of the bot, but for what loads another model or trains one.
BOT_ROUTES = (
    *(f"{MOBILE}/{name}" for name in ("messages", "history", "conversation", "config", "health")),
    *(f"{MOBILE}/{name}" for name in ("ready", "development/token", "openapi.json", "nothing")),
    *("/webhooks/rest/webhook", "/webhooks/rest/webhook?stream=true", "/webhooks/rest/", "/"),
    *("/sw.js", "/icons/icon-192.png", "/nothing", "*"),
    *("/status", "/version", "/domain", "/model/parse", "/model/predict"),
    *("/conversations/fuzz/tracker", "/conversations/fuzz/messages", "/conversations/fuzz/story"),
    *("/conversations/fuzz/tracker/events", "/conversations/fuzz/trigger_intent"),
    *("/conversations/fuzz/predict", "/conversations/fuzz/execute"),
)
ACTION_ROUTES = ("/webhook", "/health", "/ready", "/actions", "/nothing")
BODIES: dict[str, Any] = {
    "messages": {"type": "text", "text": QUESTION},
    "token": {"subject": "fuzz", "scope": ""},
    "webhook?stream=true": {"sender": "fuzz", "message": QUESTION, "metadata": {}},
    "parse": {"text": QUESTION},
    "webhook": {
        "sender": "fuzz",
        "message": QUESTION,
        "next_action": "action_help",
        "tracker": {"sender_id": "fuzz", "slots": {}, "latest_message": {}, "events": []},
        "domain": {},
        "version": "3.6.21",
    },
}
ANSWER_SECONDS, CLOSE_SECONDS = 30.0, 15.0
USERS = 50
# How often somebody else is served meanwhile.
OTHERS = 40
# What a server may grow by, once it has seen some requests, in bytes.
GROWTH = 48 * 1024 * 1024
# How many problems are enough.
PROBLEMS = 20

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "get")
LENGTHS = ("-1", "+32", "3_2", "1e3", "0x10", "", " ", "²", "9" * 30, "2, 2", "2\x00", "NaN", "1.0")
HOSTS = ("localhost", "127.0.0.1", "[::1]:5005", "[", "]", "a b", "", "evil.example", "x:99999999")
ORIGINS = ("null", "http://localhost", "http://[", "https://evil.example", "://", "é")
VALUES = (
    "",
    "a",
    "é",
    "\udcff",
    "\x00",
    "[",
    "a\nb",
    "x" * 5000,
    "Bearer \udcff",
    "0",
    "{}",
    "*/*",
)
NAMES = (
    *("Accept", "Accept-Encoding", "Connection", "Content-Encoding", "Content-Type", "Cookie"),
    *("Expect", "Forwarded", "Idempotency-Key", "If-None-Match", "Range", "Traceparent", "TE"),
    *("Upgrade", "X-Forwarded-For", "X-Forwarded-Host", "X-Token", "bad name", "é", ""),
)

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_odd = (
    _json
    | st.integers(1, 300).map(lambda depth: json.loads("[" * depth + "]" * depth))
    | st.integers(1, 480).map(lambda d: f'/WHO_IS{{"offset": {"[" * d}{"]" * d}}}')
    | st.sampled_from(("/restart", "/back@1", "x" * 20_000, "\ud800", "\x00", "/{", "/é{[", 10**30))
)
_POSTED = "messages|token$|webhook|parse|predict|events|intent|execute"


@dataclass(frozen=True)
class Raw:
    """A request as bytes, in the pieces in which they are sent."""

    pieces: tuple[bytes, ...]
    # Whether the server has all that it needs for an answer.
    is_whole: bool


@dataclass
class Target:
    """A server that is spoken to.

    Attributes:
        signed: a header line each of those who may ask; those of the API of Rasa are arguments.
        others: serves somebody else; raises an error where that does not go well.
        pids: the processes behind it, whose memory and processor time are looked at.
    """

    name: str
    port: int
    routes: Sequence[str]
    signed: Sequence[str]
    others: Callable[[], None]
    pids: Callable[[], list[int]]
    statuses: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def memory(self) -> float:
        """The resident memory of the processes, in bytes."""
        return sum(map(baselines.resident, self.pids()))


def _body(route: str) -> st.SearchStrategy[bytes]:
    valid = BODIES.get(route.rpartition("/")[2].partition("?token")[0], {})
    mutated = st.dictionaries(st.sampled_from(sorted(valid) or ["a"]), _odd, max_size=2).map(
        lambda changes: {**valid, **changes}
    )
    encoded = (st.just(valid) | mutated | _odd).map(lambda value: json.dumps(value).encode())
    deep = st.sampled_from((900, 5000, 50_000)).map(lambda d: b"[" * d + b"]" * d)
    return encoded | encoded | st.binary(max_size=200) | deep | st.sampled_from((b"", b"{" * 9))


@st.composite
def requests(draw: st.DrawFn, target: Target) -> Raw:
    """Draw a request to ``target``, often a good one but for something."""
    # A conversation of thousands of turns would be another test.
    user = f"fuzz{draw(st.integers(0, 99))}"
    route = draw(st.sampled_from(target.routes)).replace("fuzz", user)
    path = draw(
        st.sampled_from(
            ("",) * 15 + ("?", "?limit=-1&before=%FF", "/%2e%2e/", "%00", "?a[]={", "é")
        )
    )
    usual = "POST" if re.search(_POSTED, route) else "GET"
    method = usual if draw(st.integers(0, 3)) else draw(st.sampled_from(METHODS))
    version = draw(st.sampled_from(("HTTP/1.1",) * 20 + ("HTTP/1.0", "HTTP/2.0", "http/1.1", "")))
    lines = []
    if draw(st.integers(0, 7)):
        lines.append(f"Host: localhost:{target.port}")
    else:
        lines += [f"Host: {host}" for host in draw(st.lists(st.sampled_from(HOSTS), max_size=2))]
    if target.signed and draw(st.booleans()):
        lines.append(draw(st.sampled_from(target.signed)))
    if draw(st.integers(0, 7)) == 0:
        lines.append(f"Origin: {draw(st.sampled_from(ORIGINS))}")
    if draw(st.integers(0, 7)) == 0:
        lines.append(f"Authorization: {draw(st.sampled_from(VALUES))}")
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2)) if draw(st.booleans()) else ():
        lines.append(f"{name}: {draw(st.sampled_from(VALUES) | st.text(max_size=12))}")
    if draw(st.integers(0, 3)):
        lines.append("Content-Type: application/json")
    body = draw(_body(route)) if method not in ("GET", "HEAD") or draw(st.booleans()) else b""
    body = body.replace(b'"fuzz"', f'"{user}"'.encode())
    is_whole = True
    framing = draw(st.sampled_from(("length",) * 20 + ("odd", "short", "twice", "chunks", "bad")))
    if framing == "length" and (body or method != "GET"):
        lines.append(f"Content-Length: {len(body)}")
    elif framing == "odd":
        lines.append(f"Content-Length: {draw(st.sampled_from(LENGTHS))}")
    elif framing == "short":
        lines.append(f"Content-Length: {len(body) + draw(st.integers(1, 2000))}")
        is_whole = False
    elif framing == "twice":
        lines += [
            f"Content-Length: {len(body)}",
            f"Content-Length: {draw(st.sampled_from(LENGTHS))}",
        ]
    elif framing in ("chunks", "bad"):
        lines.append("Transfer-Encoding: chunked")
        size = f"{len(body):x}" if framing == "chunks" else draw(st.sampled_from(LENGTHS))
        body = f"{size}\r\n".encode() + body + b"\r\n0\r\n\r\n" if body else b"0\r\n\r\n"
        is_whole = framing == "chunks"
    end = draw(st.sampled_from(("\r\n\r\n",) * 30 + ("\n\n", "\r\n")))
    head = "\r\n".join((f"{method} {route}{path} {version}", *lines)) + end
    data = head.encode(errors="surrogateescape") + body
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=2)))
    pieces = tuple(data[a:b] for a, b in zip((0, *cuts), (*cuts, len(data)), strict=True))
    return Raw(pieces, is_whole and end == "\r\n\r\n")


def send(port: int, raw: Raw) -> int | None:
    """Send a request; return the status of the answer, None where the server has hung up.

    Raises:
        AssertionError: neither came in time, or it is no answer.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
        try:
            for piece in raw.pieces:
                connection.sendall(piece)
            connection.settimeout(ANSWER_SECONDS if raw.is_whole else 0.2)
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                assert not raw.is_whole, "silence"
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(CLOSE_SECONDS)
                answer = connection.recv(65536)
        except ConnectionError:  # it does not wait for the rest of what it has refused
            return None
        except TimeoutError:
            raise AssertionError("neither an answer nor an end") from None
    if not answer:
        assert not raw.is_whole, "hung up"
        return None
    line, _, _ = b"".join(raw.pieces).partition(b"\r\n")
    if line.endswith(b" ") and not answer.startswith(b"HTTP/"):
        return 400  # nginx, to a line without a version: that is HTTP/0.9, which has no status
    found = re.match(rb"HTTP/1\.1 ([0-9]{3}) ", answer)
    assert found, answer[:100]
    return int(found[1])


def speak(target: Target, number: int, seed: int = 1) -> None:
    """Send ``number`` requests to ``target``; what goes wrong is added to its problems."""
    sent = 0
    warm: float | None = None

    @seeded(seed)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(target))
    def one(raw: Raw) -> None:
        nonlocal sent, warm
        if len(target.problems) >= PROBLEMS:
            return
        sent += 1
        try:
            status = send(target.port, raw)
            target.statuses[status or 0] = target.statuses.get(status or 0, 0) + 1
            # 505: nginx, to a version that there is not.
            assert status is None or status < 500 or status == 505, status
            if sent % OTHERS == 0:
                target.others()
            if sent == number // 4:
                warm = target.memory
        except (AssertionError, OSError, httpx.HTTPError) as error:
            shown = b"".join(raw.pieces)
            for line in target.signed:
                shown = shown.replace(line.encode(), b"(signed)")
            target.problems.append(f"{target.name}: {error!r} after {shown[:600]!r}")

    one()
    target.others()
    if warm is not None and (growth := target.memory - warm) > GROWTH:
        target.problems.append(f"{target.name}: {growth / 1e6:.0f} MB more than before")
    time.sleep(1)  # what was cut off may still be worked on
    if (busy := _busy(target.pids())) > 0.5:
        target.problems.append(f"{target.name}: busy for {busy:.1f} s of a second without requests")


def _busy(pids: Iterable[int]) -> float:
    """Return the processor time in seconds that the busiest process takes within a second."""

    def taken(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = {pid: taken(pid) for pid in pids}
    time.sleep(1)
    return max((taken(pid) - since for pid, since in before.items()), default=0.0)


def bot(
    name: str,
    port: int,
    pids: Callable[[], list[int]],
    token: Callable[[str], str],
    api_token: str | None = None,
) -> Target:
    """Return a bot to speak to.

    Args:
        token: gives one of the mobile channel for somebody.
        api_token: of the API of Rasa.
    """
    other = itertools.count()

    def others() -> None:
        response = httpx.post(
            f"http://127.0.0.1:{port}{MOBILE}/messages",
            json=BODIES["messages"],
            headers={"Authorization": f"Bearer {token(f'other-{next(other) // 10}')}"},
            timeout=ANSWER_SECONDS,
            trust_env=False,
        )
        assert response.status_code == 200, response.text

    routes = [*BOT_ROUTES]
    if api_token is not None:
        query = urlencode({"token": api_token})
        routes += [f"{route}?{query}" for route in BOT_ROUTES if "?" not in route]
    signed = [f"Authorization: Bearer {token(f'user-{number}')}" for number in range(USERS)]
    return Target(name, port, routes, signed, others, pids)


def actions(name: str, port: int, pids: Callable[[], list[int]], secret: str | None) -> Target:
    """Return an action server to speak to; ``secret`` is that of its bot."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def others() -> None:
        response = httpx.post(
            f"http://127.0.0.1:{port}/webhook",
            json=BODIES["webhook"],
            headers=headers,
            timeout=ANSWER_SECONDS,
            trust_env=False,
        )
        assert response.status_code == 200, response.text

    signed = tuple(f"{header}: {value}" for header, value in headers.items())
    return Target(name, port, ACTION_ROUTES, signed, others, pids)
