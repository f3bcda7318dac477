"""Settings of the mobile channel, rate limits, traces: what needs no server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sanic.request import Request

from bot.channels.problems import ProblemError
from bot.channels.rate_limit import RateLimiter
from bot.channels.settings import Settings, require_authentication
from bot.runtime.rasa_cli import DEFAULTS, PROJECT_ROOT
from common import environment
from common.errors import UserError
from common.trace_context import trace_of

IDENTITY = {"jwks": "https://id.example.com/keys", "issuer": "https://id", "audience": "bot"}


# --- settings ---------------------------------------------------------------------------------


def test_defaults() -> None:
    assert Settings.of(None, development=True) == Settings()
    assert Settings.of({"jwks": "", "origins": " "}, development=True) == Settings()


def test_all_settings() -> None:
    settings = Settings.of(
        {
            **IDENTITY,
            "required_scope": "directory:read",
            "origins": "https://a.example.com http://localhost:8080",
            "requests_per_minute": "12.5",
            "burst": 4,
            "retention_days": None,
        },
        development=False,
    )
    assert settings.origins == ("https://a.example.com", "http://localhost:8080")
    assert (settings.requests_per_minute, settings.burst) == (12.5, 4)
    assert settings.retention_days is None


def test_the_environment_wins_over_the_file() -> None:
    environ = {"MOBILE_REQUESTS_PER_MINUTE": "5", "MOBILE_AUDIENCE": " ", "RETENTION_DAYS": "7"}
    credentials = {**IDENTITY, "requests_per_minute": 30, "retention_days": 30}
    settings = Settings.of(credentials, development=False, environ=environ)
    assert (settings.requests_per_minute, settings.retention_days) == (5, 7)
    assert settings.audience == IDENTITY["audience"]


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        ({"jwk": "x"}, "no setting jwk"),
        ({**IDENTITY, "issuer": ""}, "issuer and audience"),
        ({**IDENTITY, "audience": None}, "audience must be a text"),
        ({**IDENTITY, "development_secret": "s" * 40}, "exclude each other"),
        ({**IDENTITY, "jwks": "http://id.example.com/keys"}, "by https"),
        ({**IDENTITY, "jwks": "ftp://id.example.com/keys"}, "neither a file nor"),
        ({**IDENTITY, "jwks": "no/such/file.json"}, "neither a file nor"),
        ({"burst": 0}, "burst must be a number above 0"),
        ({"burst": "many"}, "burst must be a number above 0"),
        ({"turn_seconds": True}, "turn_seconds must be a number above 0"),
        ({"retention_days": float("inf")}, "retention_days must be"),
        ({"origins": "*"}, "no origin"),
        ({"origins": ["https://a.example.com/path"]}, "no origin"),
        ({"origins": {"a": 1}}, "must be a list"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(credentials: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings.of(credentials, development=True)


def test_production_needs_keys() -> None:
    with pytest.raises(UserError, match="MOBILE_JWKS"):
        Settings.of({"development_secret": "s" * 40}, development=False)
    assert Settings.of(IDENTITY, development=False).jwks


# --- where a server listens -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.168.1.5", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_development_is_on_the_loopback_interface(
    monkeypatch: pytest.MonkeyPatch, host: str, expected: bool
) -> None:
    monkeypatch.delenv(environment.PRODUCTION_VARIABLE, raising=False)
    monkeypatch.setenv(environment.INTERFACE_VARIABLE, host)
    assert environment.is_development() is expected
    monkeypatch.setenv(environment.PRODUCTION_VARIABLE, "true")
    assert environment.is_development() is False


def test_a_server_that_was_told_nothing_judges_its_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(environment.PRODUCTION_VARIABLE, raising=False)
    monkeypatch.delenv(environment.INTERFACE_VARIABLE, raising=False)
    assert environment.is_development()
    for address, forwarded, expected in (
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("192.168.1.5", {}, False),
        ("2001:db8::1", {}, False),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}, False),
        ("127.0.0.1", {"forwarded": "for=192.0.2.1"}, False),
    ):
        request = cast(Request, SimpleNamespace(ip=address, headers=forwarded))
        assert environment.is_local(request) is expected, address
    monkeypatch.setenv(environment.PRODUCTION_VARIABLE, "1")
    assert not environment.is_local(cast(Request, SimpleNamespace(ip="127.0.0.1", headers={})))


def check_credentials(path: Path, host: str, **environ: str) -> None:
    require_authentication(path, host, {**DEFAULTS, **environ})


def test_the_project_s_credentials(tmp_path: Path) -> None:
    path = PROJECT_ROOT / "credentials.yml"
    check_credentials(path, "127.0.0.1")
    with pytest.raises(UserError, match="MOBILE_JWKS"):
        check_credentials(path, "0.0.0.0")
    check_credentials(
        path,
        "0.0.0.0",
        MOBILE_JWKS=IDENTITY["jwks"],
        MOBILE_ISSUER=IDENTITY["issuer"],
        MOBILE_AUDIENCE=IDENTITY["audience"],
    )


@pytest.mark.parametrize(
    "channel",
    [
        "rest:",
        "callback:\n  url: x",
        "socketio:\n  a: b",
        "rasa.core.channels.rest.RestInput:",
        "rasa.core.channels.RocketChatInput:",
        "rasa.core.channels.socketio.SocketIOInput:",
    ],
)
def test_open_channels_are_refused_in_public(tmp_path: Path, channel: str) -> None:
    path = tmp_path / "credentials.yml"
    path.write_text(channel)
    check_credentials(path, "127.0.0.1")
    with pytest.raises(UserError, match=channel.partition(":")[0]):
        check_credentials(path, "0.0.0.0")


@pytest.mark.parametrize("content", ["[]", "a: ${NOT_SET_AT_ALL}", "a: [", None])
def test_credentials_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "credentials.yml"
    if content is not None:
        path.write_text(content)
    if content == "[]":  # empty is fine: no channel
        check_credentials(path, "0.0.0.0")
        return
    with pytest.raises(UserError, match=r"credentials\.yml"):
        check_credentials(path, "0.0.0.0")


# --- rate limits ------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def refused(limiter: RateLimiter, key: str) -> int | None:
    """Return the seconds to wait, None where ``key`` may pass."""
    try:
        limiter.take(key)
    except ProblemError as problem:
        return int(problem.fields["retry_after"])
    return None


def test_a_burst_then_the_rate() -> None:
    clock = Clock()
    limiter = RateLimiter(per_minute=6, burst=3, clock=clock)
    assert [refused(limiter, "me") for _ in range(4)] == [None, None, None, 10]
    assert refused(limiter, "you") is None
    clock.now = 4.0
    assert refused(limiter, "me") == 6
    clock.now = 10.0
    assert [refused(limiter, "me") for _ in range(2)] == [None, 10]
    clock.now = 10_000.0  # saved up, but no more than a burst
    assert [refused(limiter, "me") for _ in range(4)] == [None, None, None, 10]


def test_waiting_as_told_is_enough() -> None:
    clock = Clock()
    limiter = RateLimiter(per_minute=7, burst=1, clock=clock)
    for _ in range(50):
        assert refused(limiter, "me") is None
        wait = refused(limiter, "me")
        assert wait is not None
        clock.now += wait


def test_buckets_are_bounded() -> None:
    limiter = RateLimiter(per_minute=1, burst=1, max_keys=10, clock=Clock())
    for number in range(100):
        limiter.take(str(number))
    assert len(limiter._buckets) == 10
    assert refused(limiter, "99") is not None


# --- traces -----------------------------------------------------------------------------------

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_trace_goes_on() -> None:
    trace = trace_of(f"00-{TRACE_ID}-{SPAN_ID}-01")
    assert (trace.trace_id, trace.flags) == (TRACE_ID, "01")
    assert trace.span_id != SPAN_ID
    assert trace_of(trace.traceparent).trace_id == TRACE_ID
    assert trace_of(f"cc-{TRACE_ID}-{SPAN_ID}-01-later-versions").trace_id == TRACE_ID


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        TRACE_ID,
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
    ],
)
def test_a_malformed_trace_is_replaced(header: str | None) -> None:
    trace = trace_of(header)
    assert trace.trace_id != TRACE_ID
    assert trace_of(trace.traceparent).trace_id == trace.trace_id


@given(st.text(max_size=100))
def test_any_header_gives_a_trace(header: str) -> None:
    trace = trace_of(header)
    assert trace_of(trace.traceparent).trace_id == trace.trace_id
