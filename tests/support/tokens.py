"""An identity provider: keys, tokens, a key file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER, AUDIENCE = "https://id.example.com", "skills-bot"


class Signer:
    """A key pair of an identity provider."""

    def __init__(self, algorithm: str, key_id: str, bits: int = 2048) -> None:
        self.algorithm, self.key_id = algorithm, key_id
        self.private: Any = (
            rsa.generate_private_key(65537, bits)
            if algorithm.startswith("RS")
            else ec.generate_private_key(ec.SECP256R1())
        )

    @property
    def public(self) -> dict[str, Any]:
        """The key as a JWK Set holds it."""
        kind = (
            jwt.algorithms.RSAAlgorithm if self.algorithm == "RS256" else jwt.algorithms.ECAlgorithm
        )
        jwk = kind.to_jwk(self.private.public_key(), as_dict=True)
        return {**jwk, "kid": self.key_id, "use": "sig", "alg": self.algorithm}

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def token(self, *, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """Return a valid token with ``changes``; None takes a claim out."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "paul",
            "exp": int(time.time()) + 600,
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(
            claims, self.private, self.algorithm, headers={"kid": self.key_id, **(headers or {})}
        )


RSA, EC = Signer("RS256", "rsa-1"), Signer("ES256", "ec-1")


def write_keys(path: Path, *signers: Signer) -> None:
    """Replace a key file, as a deployment does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"keys": [signer.public for signer in signers]}))
    fresh.replace(path)
