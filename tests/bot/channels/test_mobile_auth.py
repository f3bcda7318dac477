"""Sign-in: real keys, real tokens, a real server of keys."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from bot.channels import auth
from bot.channels.auth import Authenticator, Caller, DevelopmentKey, KeySet, conversation_id
from bot.channels.problems import ProblemError
from bot.processes import free_port
from common import environment
from common.errors import UserError
from tests.support import HOST
from tests.support.mobile_server import MobileServer, problem
from tests.support.tokens import AUDIENCE, EC, ISSUER, RSA, Signer, write_keys


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    write_keys(path, RSA, EC)
    return path


@pytest.fixture
def authenticator(key_file: Path) -> Authenticator:
    return Authenticator(KeySet(str(key_file)), ISSUER, AUDIENCE)


def who(authenticator: Authenticator, token: str) -> Caller:
    return asyncio.run(authenticator.caller(f"Bearer {token}"))


def refused(authenticator: Authenticator, header: str | None, kind: str = "unauthenticated") -> str:
    """Check that a request with that header is refused; return the reason."""
    with pytest.raises(ProblemError) as caught:
        asyncio.run(authenticator.caller(header))
    assert caught.value.kind == kind
    if kind == "unauthenticated":
        assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    return caught.value.detail


# --- tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", [RSA, EC], ids=["RS256", "ES256"])
def test_a_valid_token_says_who_calls(authenticator: Authenticator, signer: Signer) -> None:
    token = signer.token(scope="directory:phone profile", roles=["admin"], scp="x")
    caller = who(authenticator, token)
    assert (caller.issuer, caller.subject) == (ISSUER, "paul")
    assert caller.scopes == {"directory:phone", "profile", "admin", "x"}


def test_malformed_scopes_grant_nothing(authenticator: Authenticator) -> None:
    assert who(authenticator, RSA.token(scope={"a": 1}, scp=[1, None], roles=5)).scopes == set()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "not valid"),
        ({"exp": "soon"}, "not valid"),
        ({"nbf": 2**40}, "not valid"),
        ({"iat": 2**40}, "not valid"),
        ({"iss": "https://evil.example.com"}, "not valid"),
        ({"iss": None}, "not valid"),
        ({"aud": "another-app"}, "not valid"),
        ({"aud": None}, "not valid"),
        ({"sub": None}, "not valid"),
        ({"sub": ""}, "subject"),
        ({"sub": "a" * 256}, "subject"),
        ({"sub": "a\nb"}, "subject"),
    ],
    ids=str,
)
def test_wrong_claims_are_refused(
    authenticator: Authenticator, changes: dict[str, Any], reason: str
) -> None:
    assert reason in refused(authenticator, f"Bearer {RSA.token(**changes)}")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic cGF1bDpwYXVs",
        "Bearer a.b.c",
        "Bearer .",
        f"Bearer {'a' * 9000}",
    ],
    ids=lambda header: str(header)[:20],
)
def test_what_is_no_token_is_refused(authenticator: Authenticator, header: str | None) -> None:
    refused(authenticator, header)


def test_a_changed_token_is_refused(authenticator: Authenticator) -> None:
    header, _, signature = RSA.token().split(".")
    forged = base64.urlsafe_b64encode(
        json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "ceo", "exp": 2**40}).encode()
    )
    refused(authenticator, f"Bearer {header}.{forged.decode().rstrip('=')}.{signature}")
    refused(authenticator, f"Bearer {header}.{forged.decode().rstrip('=')}.")


def test_a_stranger_s_key_is_refused(authenticator: Authenticator) -> None:
    stranger = Signer("RS256", "rsa-1")
    refused(authenticator, f"Bearer {stranger.token()}")
    # Nor does the token bring its own key with it.
    token = stranger.token(headers={"jwk": stranger.public, "jku": "https://evil.example.com"})
    refused(authenticator, f"Bearer {token}")


def by_hand(algorithm: str, key: bytes) -> str:
    """Sign a token as no honest library would."""

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ceo", "exp": int(time.time()) + 600}
    signed = f"{part({'alg': algorithm, 'kid': 'rsa-1', 'typ': 'JWT'})}.{part(claims)}"
    digest = hmac.new(key, signed.encode(), hashlib.sha256).digest() if key else b""
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


@pytest.mark.parametrize(
    "token",
    [
        by_hand("HS256", RSA.public_pem),
        by_hand("none", b""),
        by_hand("None", b""),
        by_hand("", b""),
    ],
    ids=["public key as secret", "none", "None", "empty"],
)
def test_other_algorithms_are_refused(authenticator: Authenticator, token: str) -> None:
    assert "algorithm" in refused(authenticator, f"Bearer {token}")


def test_a_required_scope(key_file: Path) -> None:
    strict = Authenticator(KeySet(str(key_file)), ISSUER, AUDIENCE, "directory:read")
    assert who(strict, RSA.token(scope="directory:read")).subject == "paul"
    refused(strict, f"Bearer {RSA.token(scope='directory:reader')}", "forbidden")


def test_conversations_are_told_apart_by_issuer_and_subject() -> None:
    ids = {conversation_id(*pair) for pair in (("a", "bc"), ("ab", "c"), ("a", "b"), ("", "abc"))}
    assert len(ids) == 4
    assert conversation_id("a", "b") == conversation_id("a", "b")


# --- keys -------------------------------------------------------------------------------------


def test_keys_rotate_with_their_file(key_file: Path, authenticator: Authenticator) -> None:
    new = Signer("ES256", "ec-2")
    assert who(authenticator, RSA.token()).subject == "paul"
    write_keys(key_file, new)
    assert who(authenticator, new.token()).subject == "paul"
    refused(authenticator, f"Bearer {RSA.token()}")


def test_a_broken_key_file_leaves_the_last_keys(
    key_file: Path, authenticator: Authenticator
) -> None:
    who(authenticator, RSA.token())
    for content in ("{", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}'):
        key_file.write_text(content)
        assert who(authenticator, RSA.token()).subject == "paul"
    key_file.unlink()
    assert who(authenticator, RSA.token()).subject == "paul"


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"alg": "RS512"},
        {"n": "!"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"d": "AAAA"},
    ],
    ids=str,
)
def test_unfit_keys_are_left_out(changes: dict[str, Any]) -> None:
    keys = [{**RSA.public, **changes}, EC.public]
    (kept,) = auth.parse_key_set(json.dumps({"keys": keys}).encode())
    assert kept.key_id == "ec-1"


def test_short_rsa_keys_are_left_out() -> None:
    short = Signer("RS256", "short", bits=1024)
    with pytest.raises(ValueError, match="no key"):
        auth.parse_key_set(json.dumps({"keys": [short.public]}).encode())


def test_a_set_that_is_nested_deeply_is_none() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        auth.parse_key_set(b"[" * 100_000)


@pytest.mark.parametrize("token", ["\udcff", "é.é.é", "a.\udcff.b"])
def test_a_token_of_other_characters_is_nobody_s(token: str) -> None:
    with pytest.raises(ProblemError) as refused:
        who(Authenticator(DevelopmentKey("x" * 32)), token)
    assert refused.value.kind == "unauthenticated"


def test_a_set_of_one_needs_no_names(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [{**RSA.public, "kid": None}]}))
    token = jwt.encode(
        {"iss": ISSUER, "aud": AUDIENCE, "sub": "paul", "exp": time.time() + 60},
        RSA.private,
        "RS256",
    )
    assert who(Authenticator(KeySet(str(path)), ISSUER, AUDIENCE), token).subject == "paul"


class KeyServer:
    """Serves a JWK Set; counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [RSA.public]
        self.status, self.asked = 200, 0
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked += 1
                if self.path == "/elsewhere":
                    self.send_response(302)
                    self.send_header("Location", "/keys")
                    self.end_headers()
                    return
                body = json.dumps({"keys": owner.keys}).encode()
                if self.path == "/large":
                    body += b" " * auth.MAX_KEY_SET_BYTES
                self.send_response(owner.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    server = KeyServer()
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_keys_of_an_address_are_kept(key_server: KeyServer) -> None:
    authenticator = Authenticator(KeySet(f"{key_server.url}/keys"), ISSUER, AUDIENCE)

    async def ask_many() -> None:
        header = f"Bearer {RSA.token()}"
        await asyncio.gather(*(authenticator.caller(header) for _ in range(20)))

    asyncio.run(ask_many())
    assert key_server.asked == 1
    key_server.status = 500
    assert who(authenticator, RSA.token()).subject == "paul"


def test_a_new_key_is_fetched_but_strangers_cannot_make_us_hammer(
    key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = Authenticator(KeySet(f"{key_server.url}/keys"), ISSUER, AUDIENCE)
    who(authenticator, RSA.token())
    stranger, new = Signer("ES256", "stranger"), Signer("ES256", "new")
    for _ in range(5):
        refused(authenticator, f"Bearer {stranger.token()}")
    assert key_server.asked == 1  # just read, not yet time to try again
    monkeypatch.setattr(auth, "RETRY_SECONDS", 0.0)
    key_server.keys = [new.public]
    assert who(authenticator, new.token()).subject == "paul"
    refused(authenticator, f"Bearer {RSA.token()}")


@pytest.mark.parametrize("path", ["/keys", "/elsewhere", "/large"])
def test_keys_that_cannot_be_had_are_our_trouble_not_the_users(
    key_server: KeyServer, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    key_server.status = 503 if path == "/keys" else 200
    authenticator = Authenticator(KeySet(f"{key_server.url}{path}"), ISSUER, AUDIENCE)
    refused(authenticator, f"Bearer {RSA.token()}", "unavailable")
    assert "cannot be read" in caplog.text


def test_old_keys_are_read_again(key_server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = Authenticator(KeySet(f"{key_server.url}/keys"), ISSUER, AUDIENCE)
    who(authenticator, RSA.token())
    monkeypatch.setattr(auth, "KEY_SET_SECONDS", 0.0)
    monkeypatch.setattr(auth, "RETRY_SECONDS", 0.0)
    key_server.keys = [EC.public]
    refused(authenticator, f"Bearer {RSA.token()}")


# --- development tokens, and the channel ------------------------------------------------------


def test_development_tokens() -> None:
    key = DevelopmentKey("s" * 32)
    authenticator = Authenticator(key, auth.DEVELOPMENT_ISSUER, None)
    caller = who(authenticator, key.issue("me", "directory:phone", None))
    assert (caller.subject, caller.scopes) == ("me", {"directory:phone"})
    refused(authenticator, f"Bearer {DevelopmentKey('t' * 32).issue('me', '', None)}")
    with pytest.raises(UserError, match="32"):
        DevelopmentKey("short")


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.INTERFACE_VARIABLE, "0.0.0.0")


def test_the_channel_in_production(production: None, key_file: Path, tmp_path: Path) -> None:
    settings = {"jwks": str(key_file), "issuer": ISSUER, "audience": AUDIENCE}
    with MobileServer(None, settings, free_port(), tmp_path / "events.db") as server:
        response = httpx.post(f"{server.url}/development/token", json={})
        problem(response, 404, "not-found")
        sign_in = httpx.get(f"{server.url}/config").json()["sign_in"]
        assert sign_in == {"mode": "external", "issuer": ISSUER, "audience": AUDIENCE}
        for path, method in (("messages", "POST"), ("history", "GET"), ("conversation", "DELETE")):
            response = httpx.request(method, f"{server.url}/{path}")
            problem(response, 401, "unauthenticated")
            assert response.headers["www-authenticate"] == "Bearer"
        for token, status in (
            (RSA.token(), 200),
            (EC.token(), 200),
            (by_hand("HS256", RSA.public_pem), 401),
            (DevelopmentKey("s" * 32).issue("me", "", AUDIENCE), 401),
        ):
            header = {"Authorization": f"Bearer {token}"}
            response = httpx.get(f"{server.url}/history", headers=header)
            assert response.status_code == status
