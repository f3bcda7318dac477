"""The settings of the mobile channel in ``credentials.yml``; docs/mobile.md lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bot.configuration import read_yaml
from common import environment
from common.errors import UserError

CHANNEL = "bot.channels.mobile.MobileInput"


@dataclass(frozen=True)
class Settings:
    """See docs/mobile.md. Without ``jwks`` the channel issues tokens itself, for development."""

    jwks: str | None = None
    issuer: str | None = None
    audience: str | None = None
    required_scope: str | None = None
    development_secret: str | None = None
    origins: tuple[str, ...] = ()
    requests_per_minute: float = 30.0
    burst: int = 10
    body_bytes: int = 16 * 1024
    turn_seconds: float = 30.0
    retention_days: float | None = 30.0

    @classmethod
    def of(
        cls,
        credentials: Mapping[str, Any] | None,
        *,
        development: bool,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Return the settings of ``credentials``; an empty text stands for « not set ».

        Args:
            development: whether the server is one for development (:mod:`common.environment`).
            environ: variables (:data:`VARIABLES`) that win over the file.

        Raises:
            UserError: a setting is wrong, or nobody could be authenticated in production.
        """
        given = {
            name: value
            for name, value in {**(credentials or {}), **_of_environment(environ or {})}.items()
            if not (isinstance(value, str) and not value.strip())
        }
        unknown = sorted(given.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise UserError(f"credentials.yml, {CHANNEL}: there is no setting {unknown[0]}.")
        values: dict[str, Any] = {
            **{name: _text(given, name) for name in _TEXTS if name in given},
            **{name: _number(given, name) for name in _NUMBERS if name in given},
        }
        if "origins" in given:
            values["origins"] = _origins(given["origins"])
        settings = cls(**values)
        settings._require_authentication(development)
        return settings

    def _require_authentication(self, development: bool) -> None:
        if self.jwks is None:
            if not development:
                raise UserError(
                    "The mobile channel would know nobody: on a public address it needs the "
                    "public keys of your identity provider. Set MOBILE_JWKS (file or https "
                    "address of a JWK Set), MOBILE_ISSUER and MOBILE_AUDIENCE, or listen on "
                    "127.0.0.1. See docs/mobile.md."
                )
            return
        if self.issuer is None or self.audience is None:
            raise UserError(
                "credentials.yml: jwks needs issuer and audience beside it (MOBILE_ISSUER, "
                "MOBILE_AUDIENCE), or tokens for other applications would open this one."
            )
        if self.development_secret is not None:
            raise UserError(
                "credentials.yml: development_secret and jwks exclude each other; tokens signed "
                "with a secret (HS256) are for development only."
            )
        address = urlsplit(self.jwks)
        if address.scheme == "http" and not environment.is_loopback(address.hostname or ""):
            raise UserError(f"The keys must come by https, not from {self.jwks}.")
        if address.scheme not in ("https", "http", "") or (
            not address.scheme and not Path(self.jwks).is_file()
        ):
            raise UserError(f"MOBILE_JWKS: {self.jwks} is neither a file nor an https address.")


# Setting → environment variable.
VARIABLES = {
    "jwks": "MOBILE_JWKS",
    "issuer": "MOBILE_ISSUER",
    "audience": "MOBILE_AUDIENCE",
    "required_scope": "MOBILE_SCOPE",
    "origins": "MOBILE_ORIGINS",
    "requests_per_minute": "MOBILE_REQUESTS_PER_MINUTE",
    "retention_days": "RETENTION_DAYS",
}
_TEXTS = ("jwks", "issuer", "audience", "required_scope", "development_secret")
_NUMBERS = ("requests_per_minute", "burst", "body_bytes", "turn_seconds", "retention_days")


def _of_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: environ[variable]
        for name, variable in VARIABLES.items()
        if environ.get(variable, "").strip()
    }


def _text(given: Mapping[str, Any], name: str) -> str:
    if not isinstance(given[name], str):
        raise UserError(f"credentials.yml, {CHANNEL}: {name} must be a text.")
    return str(given[name]).strip()


def _number(given: Mapping[str, Any], name: str) -> Any:
    value = given[name]
    if name == "retention_days" and value is None:
        return None
    try:
        # From an environment variable it comes as a text.
        number = float(value) if not isinstance(value, bool) else 0.0
        if not 0 < number < float("inf"):
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(
            f"credentials.yml, {CHANNEL}: {name} must be a number above 0, not {value!r}."
        ) from None
    return max(1, int(number)) if name in ("burst", "body_bytes") else number


def _origins(value: Any) -> tuple[str, ...]:
    listed = value.split() if isinstance(value, str) else value
    if not isinstance(listed, list):
        raise UserError(f"credentials.yml, {CHANNEL}: origins must be a list.")
    for origin in listed:
        parts = urlsplit(origin if isinstance(origin, str) else "")
        if parts.scheme not in ("https", "http") or not parts.netloc or origin.count("/") != 2:
            raise UserError(
                f"credentials.yml, {CHANNEL}: {origin!r} is no origin such as "
                "https://people.example.com."
            )
    return tuple(listed)


# --- the file ---------------------------------------------------------------------------------


def require_authentication(path: Path, host: str, environ: Mapping[str, str]) -> None:
    """Check the channels of a credentials file for a server that listens on ``host``.

    Args:
        environ: what the variables in the file stand for, and settings that win over it.

    Raises:
        UserError: a channel would be open to everybody, or its settings are wrong.
    """
    development = environment.is_development(host)
    channels = read_yaml(path, environ)
    for name, values in channels.items():
        known = _known_name(name)
        is_open = known in environment.OPEN_CHANNELS or (
            known == "socketio" and not (isinstance(values, dict) and values.get("jwt_key"))
        )
        if is_open and not development:
            raise UserError(
                f"{path}: the channel {name} has no authentication, and {host} is public. Take "
                "it out, or listen on 127.0.0.1. See docs/mobile.md."
            )
    if CHANNEL in channels:
        Settings.of(channels[CHANNEL], development=development, environ=environ)


def _known_name(channel: str) -> str:
    """Return the name of a channel of Rasa whose class ``channel`` may be the path of."""
    module, _, _ = channel.rpartition(".")
    if not module or module.startswith("bot.channels"):
        return channel
    from rasa.shared.utils.common import class_from_module_path

    try:
        kind = class_from_module_path(channel)
    except Exception:  # Rasa will say what is wrong with it
        return channel
    return str(kind.name()) if kind.__module__.startswith("rasa.core.channels.") else channel
