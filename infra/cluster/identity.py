"""An identity provider for a cluster that nobody else reaches: a key, and tokens signed with it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://id.cluster.test"
AUDIENCE = "skills-bot"
TOKEN_SECONDS = 24 * 3600
_KEY_ID = "cluster"


class IdentityProvider:
    """Issues tokens; ``keys`` is the file with its public key (a JWK Set)."""

    def __init__(self, keys: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        jwk = {**public, "kid": _KEY_ID, "use": "sig", "alg": "RS256"}
        keys.write_text(json.dumps({"keys": [jwk]}), encoding="utf-8")
        self.keys = keys

    def token(self, subject: str, scope: str = "") -> str:
        """Return a token of ``subject`` with scopes (separated by blanks), for a day."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "scope": scope,
            "exp": int(time.time()) + TOKEN_SECONDS,
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": _KEY_ID})
