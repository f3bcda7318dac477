"""What every server is held to, in a small server of its own: lengths, times, sizes, standstill."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.baselines import resident
from bot.processes import free_port
from tests.support import HOST, ROOT

# A handler that is stuck stands for whatever may spin.
SERVER = """
import sys
from sanic import Sanic
from sanic.response import text
from common import http_guard

http_guard.BODY_SECONDS, http_guard.STUCK_SECONDS = 1.0, 2.0
app = Sanic("guarded", configure_logging=False)
app.config.REQUEST_TIMEOUT = 2
http_guard.protect(app, 100_000)

@app.route("/read", methods=["GET", "POST"])
async def read(request):
    return text(str(len(request.body)))

@app.get("/unread", ignore_body=True)
async def unread(request):
    return text("done")

@app.get("/stuck")
async def stuck(request):
    while True:
        pass

app.run(sys.argv[1], int(sys.argv[2]), access_log=False, motd=False)
"""

Answer = Callable[..., bytes]


def start() -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, HOST, str(port)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None:
        try:
            socket.create_connection((HOST, port)).close()
            break
        except OSError:
            time.sleep(0.05)
    assert process.poll() is None
    return process, port


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    process, port = start()
    yield process, port
    process.terminate()
    process.communicate()


@pytest.fixture(scope="module")
def ask(server: tuple[subprocess.Popen[bytes], int]) -> Answer:
    """Send pieces, one by one until there is an answer; return all until the server hangs up."""

    def ask(*pieces: bytes) -> bytes:
        with socket.create_connection((HOST, server[1]), timeout=20) as connection:
            answer = b""
            try:
                for number, piece in enumerate(pieces):
                    if number and select.select([connection], [], [], 0.3)[0]:
                        break
                    connection.sendall(piece)
                while part := connection.recv(65536):
                    answer += part
            except ConnectionError:
                pass
            return answer

    return ask


def head(path: bytes, *lines: bytes, method: bytes = b"GET") -> bytes:
    start = b"%b %b HTTP/1.1" % (method, path)
    return b"\r\n".join((start, b"Host: localhost", b"Connection: close", *lines, b"", b""))


def test_good_requests_are_answered(ask: Answer) -> None:
    chunked = b"Transfer-Encoding: chunked"
    assert ask(head(b"/read")).endswith(b"\r\n\r\n0")
    assert ask(head(b"/read", b"Content-Length: 5"), b"he", b"llo").endswith(b"\r\n\r\n5")
    body = b"3;extension=1\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
    assert ask(head(b"/read", chunked), body[:1], body[1:]).endswith(b"\r\n\r\n13")
    assert b" 200 OK" in ask(b"GET /read HTTP/1.0\r\n\r\n")
    # No page of an error is an error because of what it is to look like.
    assert b" 404 " in ask(head(b"/nothing", b"Accept: \xa1"))


@pytest.mark.parametrize(
    "line",
    [
        *(b"Content-Length: " + length for length in (b"-1", b"+32", b"3_2", b"1e3", b"0x2", b"")),
        *(b"Content-Length: " + length for length in (b"\xb2", b"2, 2", b"9" * 40)),
        b"Content-Length: 2\r\nContent-Length: 3",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Host: another",
        b"Origin: http://[",
        b"No colon",
        b"Blank : x",
        b" Folded: x",
        b"Zero: \x00",
        b"Feed: a\nb: c",
    ],
)
def test_what_is_malformed_is_refused_and_closed(ask: Answer, line: bytes) -> None:
    answer = ask(head(b"/read", line) + b"ab")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert b" 200 OK" in ask(head(b"/read"))  # the server answers others


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /read HTTP/1.1\r\n\r\n",
        b"GET /read HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET /read HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET  /read HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /read HTTP/3.0\r\nHost: x\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_a_malformed_head_is_the_client_s_error(ask: Answer, request_: bytes) -> None:
    assert ask(request_).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("size", [b"-1", b"+2", b"0x2", b"1_0", b" 2", b"", b"2" * 70])
def test_malformed_chunks_are_refused(ask: Answer, size: bytes) -> None:
    for path in (b"/read", b"/unread"):
        answer = ask(head(path, b"Transfer-Encoding: chunked") + size + b"\r\nab\r\n0\r\n\r\n")
        assert answer.count(b"HTTP/1.1") == 1
        assert (b" 400 " in answer) == (path == b"/read")


def test_who_sends_slowly_is_let_go(ask: Answer) -> None:
    drops = [b"x"] * 60
    length = b"Content-Length: 1000"
    assert b" 408 " in ask(head(b"/read", length), *drops)
    assert b" 408 " in ask(head(b"/read", length, b"Upgrade: websocket"), *drops)
    assert b" 408 " in ask(b"GET /read HTTP/1.1\r\nX: ", *drops)
    # Where nobody waits for a body, it is not waited for either.
    assert b" 200 OK" in ask(head(b"/unread", length), *drops)


def test_large_bodies_are_refused(server: tuple[subprocess.Popen[bytes], int], ask: Answer) -> None:
    before = resident(server[0].pid)
    body = bytes(90 * 1024 * 1024)
    for _ in range(3):
        answer = ask(head(b"/read", b"Content-Length: %d" % len(body), method=b"POST"), body)
        assert answer[:12] in (b"HTTP/1.1 413", b"")
        ask(head(b"/read", b"Transfer-Encoding: chunked"), b"%x\r\n" % len(body), body)
    assert resident(server[0].pid) - before < 20 * 1024 * 1024


def test_a_server_that_stands_still_ends_and_says_where() -> None:
    process, port = start()
    with socket.create_connection((HOST, port)) as connection:
        connection.sendall(head(b"/stuck"))
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"in stuck" in errors
