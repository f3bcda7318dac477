"""Whose request it is: the bearer token, a JWT of the company's identity provider (RFC 7519)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt

from bot.channels.problems import ProblemError
from common.errors import UserError

logger = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "ES256")
DEVELOPMENT_ALGORITHM = "HS256"
DEVELOPMENT_ISSUER = "urn:skills-bot:development"
DEVELOPMENT_TOKEN_SECONDS = 8 * 3600
# RFC 7518, 3.2: a key of the size of the hash or larger.
MIN_DEVELOPMENT_SECRET = 32

MIN_RSA_BITS = 2048  # RFC 7518, 3.3

CLOCK_SKEW_SECONDS = 30
MAX_TOKEN_CHARACTERS = 8192
MAX_SUBJECT_CHARACTERS = 255
MAX_KEY_SET_BYTES = 512 * 1024

FETCH_SECONDS = 5.0
# Keys are asked for again after that time, and at once for a key that is not among them, but no
# more often than RETRY_SECONDS: anybody can send tokens that name unknown keys.
KEY_SET_SECONDS = 3600.0
RETRY_SECONDS = 30.0


@dataclass(frozen=True)
class Caller:
    """An authenticated user: the token's issuer and subject, and the scopes that it grants."""

    issuer: str
    subject: str
    scopes: frozenset[str] = frozenset()

    @property
    def conversation_id(self) -> str:
        """Id of the user's conversation; the same for ever, and without the subject in it."""
        return conversation_id(self.issuer, self.subject)


def conversation_id(issuer: str, subject: str) -> str:
    """Return the id under which the conversation of ``subject`` is stored and logged."""
    digest = hashlib.sha256(json.dumps([issuer, subject]).encode()).hexdigest()
    return f"mobile-{digest[:32]}"


# --- keys -------------------------------------------------------------------------------------


class Keys(ABC):
    """Where the keys that tokens are verified with come from."""

    algorithms: tuple[str, ...] = ALGORITHMS

    @abstractmethod
    async def find(self, key_id: str | None, algorithm: str) -> Any:
        """Return the key named ``key_id`` for ``algorithm``, None where there is none.

        Raises:
            ProblemError: the keys cannot be had now.
        """


class DevelopmentKey(Keys):
    """One secret shared with nobody; the channel itself issues the tokens."""

    algorithms = (DEVELOPMENT_ALGORITHM,)

    def __init__(self, secret: str) -> None:
        if len(secret.encode()) < MIN_DEVELOPMENT_SECRET:
            raise UserError(
                f"The development secret must have {MIN_DEVELOPMENT_SECRET} characters or more."
            )
        self.secret = secret

    async def find(self, key_id: str | None, algorithm: str) -> Any:
        """Return the secret."""
        return self.secret

    def issue(self, subject: str, scope: str, audience: str | None) -> str:
        """Return a token for ``subject``."""
        now = int(time.time())
        claims = {
            "iss": DEVELOPMENT_ISSUER,
            "sub": subject,
            "iat": now,
            "exp": now + DEVELOPMENT_TOKEN_SECONDS,
            "scope": scope,
            **({"aud": audience} if audience else {}),
        }
        return jwt.encode(claims, self.secret, algorithm=DEVELOPMENT_ALGORITHM)


class KeySet(Keys):
    """The public keys of a JWK Set (RFC 7517), read from ``source`` when they are needed.

    Args:
        source: an ``https`` address (``http`` on the loopback interface), or a file. A file is
            read again when it changes; a set that cannot be read leaves the last one in force.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._keys: list[jwt.PyJWK] = []
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._stamp: tuple[int, int] | None = None  # of the file that was read last, well or not
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None, algorithm: str) -> Any:
        """Return the key, after reading the set (again) where need be."""
        found = self._match(key_id, algorithm)
        if found is None or self._is_stale():
            async with self._lock:  # many requests, one read
                if (self._match(key_id, algorithm) is None or self._is_stale()) and self._may_try():
                    await self._refresh()
            found = self._match(key_id, algorithm)
        if found is None and self._read_at is None:
            raise ProblemError(
                "unavailable",
                "The keys of the identity provider cannot be read now.",
                retry_after=int(RETRY_SECONDS),
            )
        return found

    def _match(self, key_id: str | None, algorithm: str) -> Any:
        fitting = [key for key in self._keys if key.algorithm_name == algorithm]
        if key_id is None:  # a set of one key may go without names
            return fitting[0].key if len(fitting) == 1 else None
        return next((key.key for key in fitting if key.key_id == key_id), None)

    @property
    def _is_file(self) -> bool:
        return "://" not in self.source

    def _is_stale(self) -> bool:
        if self._is_file:
            return self._file_stamp() != self._stamp
        return self._read_at is None or time.monotonic() - self._read_at > KEY_SET_SECONDS

    def _may_try(self) -> bool:
        if self._is_file:
            return self._file_stamp() != self._stamp
        return self._tried_at is None or time.monotonic() - self._tried_at > RETRY_SECONDS

    def _file_stamp(self) -> tuple[int, int] | None:
        try:
            status = Path(self.source).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    async def _refresh(self) -> None:
        self._tried_at = time.monotonic()
        self._stamp = self._file_stamp() if self._is_file else None
        try:
            self._keys = parse_key_set(await self._read())
        except (OSError, ValueError, asyncio.TimeoutError, aiohttp.ClientError) as error:
            logger.error("The keys of %s cannot be read: %r", self.source, error)
        else:
            self._read_at = time.monotonic()

    async def _read(self) -> bytes:
        if self._is_file:
            return Path(self.source).read_bytes()
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            # Keys behind a redirection could come from anywhere.
            session.get(self.source, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            content = b""
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > MAX_KEY_SET_BYTES:
                    break
        if len(content) > MAX_KEY_SET_BYTES:
            raise ValueError("the set is too large")
        return content


def parse_key_set(content: bytes) -> list[jwt.PyJWK]:
    """Return the keys of a JWK Set that tokens may be signed with.

    Keys for other purposes, of other kinds and without public part are left out.

    Raises:
        ValueError: it is no JWK Set, or none of its keys can be used.
    """
    try:
        parsed = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply to be a JWK Set") from None
    listed = parsed.get("keys") if isinstance(parsed, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("not a JWK Set")
    keys = []
    for item in listed:
        if not isinstance(item, Mapping) or item.get("use", "sig") != "sig":
            continue
        algorithm = item.get("alg") or {"RSA": "RS256", "EC": "ES256"}.get(str(item.get("kty")))
        if algorithm not in ALGORITHMS or item.get("d") is not None:
            continue
        try:
            key = jwt.PyJWK(dict(item), algorithm)
        except jwt.PyJWTError:
            logger.warning("A key of the JWK Set is malformed and left out.")
            continue
        if algorithm == "RS256" and key.key.key_size < MIN_RSA_BITS:
            logger.warning("An RSA key of the JWK Set is too short and left out.")
            continue
        keys.append(key)
    if not keys:
        raise ValueError(f"no key for {' or '.join(ALGORITHMS)} in the JWK Set")
    return keys


# --- tokens -----------------------------------------------------------------------------------


class Authenticator:
    """Verifies bearer tokens.

    Args:
        keys: that tokens are signed with.
        issuer, audience: what ``iss`` and ``aud`` must be; None leaves a claim unchecked.
        required_scope: a scope that every caller needs.
    """

    def __init__(
        self,
        keys: Keys,
        issuer: str | None = None,
        audience: str | None = None,
        required_scope: str | None = None,
    ) -> None:
        self.keys, self.issuer, self.audience = keys, issuer, audience
        self.required_scope = required_scope

    async def caller(self, authorization: str | None) -> Caller:
        """Return who sends a request with this ``Authorization`` header.

        Raises:
            ProblemError: ``unauthenticated`` (nobody we know), ``forbidden`` (without the scope
                that the bot requires), ``unavailable`` (the keys cannot be had).
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if not authorization:
            raise _unauthenticated("There is no bearer token.", error=None)
        usable = token.isascii() and 0 < len(token) <= MAX_TOKEN_CHARACTERS
        if scheme.lower() != "bearer" or not usable:
            raise _unauthenticated("The Authorization header holds no bearer token.")
        claims = await self._claims(token)
        subject = claims["sub"]
        if not subject or len(subject) > MAX_SUBJECT_CHARACTERS or not subject.isprintable():
            raise _unauthenticated("The token has no usable subject.")
        caller = Caller(str(claims.get("iss", "")), subject, scopes_of(claims))
        if self.required_scope and self.required_scope not in caller.scopes:
            raise ProblemError("forbidden", f"The token lacks the scope {self.required_scope}.")
        return caller

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in self.keys.algorithms:
                raise _unauthenticated("The token is not signed with an algorithm that we take.")
            key = await self.keys.find(header.get("kid"), algorithm)
            if key is None:
                raise _unauthenticated("The token is not signed with a key that we know.")
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self.audience,
                issuer=self.issuer,
                leeway=CLOCK_SKEW_SECONDS,
                options={
                    "require": ["exp", "sub", *(["aud"] if self.audience else [])],
                    "verify_aud": self.audience is not None,
                },
            )
        except jwt.ExpiredSignatureError:
            raise _unauthenticated("The token has expired.") from None
        except jwt.PyJWTError:
            raise _unauthenticated("The token is not valid here.") from None


def scopes_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes in ``scope``, ``scp`` and ``roles``: texts with blanks, or lists."""
    found: set[str] = set()
    for name in ("scope", "scp", "roles"):
        value = claims.get(name)
        if isinstance(value, str):
            found.update(value.split())
        elif isinstance(value, list):
            found.update(item for item in value if isinstance(item, str))
    return frozenset(found)


def _unauthenticated(detail: str, error: str | None = "invalid_token") -> ProblemError:
    challenge = "Bearer" if error is None else f'Bearer error="{error}"'
    return ProblemError("unauthenticated", detail, headers={"WWW-Authenticate": challenge})
