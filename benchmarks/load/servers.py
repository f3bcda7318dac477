"""The servers under load: this bot as it is deployed, and the same bot the way Rasa has it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks import baselines
from bot import processes, server
from bot.processes import free_port
from bot.runtime.rasa_cli import API_TOKEN_VARIABLE, PROJECT_ROOT
from common.errors import UserError
from infra.cluster import Cluster, ClusterError

ISSUER, AUDIENCE, KEY_ID = "https://id.example.com", "skills-bot", "load"
TOKEN_SECONDS = 6 * 3600
MOBILE_PATH = "/webhooks/mobile/v1"
REST_PATH = "/webhooks/rest/webhook"
# Where the trained stock bot is kept from run to run.
RESULTS = PROJECT_ROOT / "results" / "bench" / "load"
UNLIMITED = "1000000"
# Opens Rasa's HTTP API, for models to be reloaded.
API_TOKEN = secrets.token_urlsafe()


class IdentityProvider:
    """Signs tokens (ES256) as a company's sign-in does.

    Args:
        private_key: PEM; a new key unless given.
    """

    def __init__(self, private_key: bytes | None = None) -> None:
        self._key: Any = (
            serialization.load_pem_private_key(private_key, None)
            if private_key
            else ec.generate_private_key(ec.SECP256R1())
        )
        self.key_id = KEY_ID

    @property
    def private_key(self) -> bytes:
        """The key as PEM, for another process to sign with."""
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return bytes(self._key.private_bytes(pem, form, serialization.NoEncryption()))

    @property
    def key_set(self) -> dict[str, Any]:
        """The public key as a JWK Set."""
        key = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": self.key_id, "use": "sig", "alg": "ES256"}]}

    def token(self, subject: str | None = None, later: float = 0.0) -> str:
        """Return a token for ``subject``, somebody who has never been here unless given.

        ``later`` is by how many seconds the bot's clock is ahead.
        """
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject or uuid.uuid4().hex,
            "exp": int(time.time() + later) + TOKEN_SECONDS,
        }
        return jwt.encode(claims, self._key, "ES256", headers={"kid": self.key_id})


@dataclass
class Site:
    """A bot and its action server on the loopback interface, and all that they write.

    Attributes:
        name: what it is called in a report.
        channel: that users talk to, ``mobile`` or ``rest``.
        folder: new, of all that the servers write.
        provider: signs the tokens that the mobile channel takes.
        children: the processes by name, ``bot`` and ``actions``.
        cluster: that takes their place.
        events: SQLite file of the conversations; in ``folder`` unless given.
        production: ``BOT_PRODUCTION``.
    """

    name: str
    channel: str
    folder: Path
    port: int = field(default_factory=free_port)
    actions_port: int = field(default_factory=free_port)
    provider: IdentityProvider = field(default_factory=IdentityProvider)
    children: dict[str, processes.Child] = field(default_factory=dict)
    cluster: Cluster | None = None
    events: Path | None = None
    production: str = ""

    @property
    def base(self) -> str:
        """Address of the bot, without a path."""
        return self.cluster.url if self.cluster else f"http://{processes.HOST}:{self.port}"

    def processes(self, name: str) -> list[int]:
        """Return the processes of all servers whose name begins so."""
        pids = {child: one.process.pid for child, one in self.children.items()}
        if self.cluster is not None:
            pids = {part: one.pid for part, one in self.cluster.parts.items() if one.running}
        return [pid for child, pid in pids.items() if child.startswith(name)]

    def memory(self, name: str) -> float:
        """Return their resident memory in bytes."""
        return sum(baselines.resident(pid) for pid in self.processes(name))

    def cpu_seconds(self, name: str) -> float:
        """Return the processor time that they have had (Linux)."""
        ticks = 0
        for pid in self.processes(name):
            # After the name, which may hold blanks.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def environ(self) -> dict[str, str]:
        """The settings of both servers."""
        return {
            "DIRECTORY_URL": f"sqlite:///{self.folder / 'directory.db'}",
            "AUDIT_LOG": str(self.folder / "audit"),
            "ANONYMOUS_SCOPES": server.EVERY_SCOPE,
            "ACTIONS_PORT": str(self.actions_port),
            "ACTIONS_SECRET": KEY_ID * 8,
            "SANIC_HOST": processes.HOST,
            "BOT_PRODUCTION": self.production,
            "MOBILE_JWKS": str(self.folder / "jwks.json"),
            "MOBILE_ISSUER": ISSUER,
            "MOBILE_AUDIENCE": AUDIENCE,
            # Users here are quicker than people.
            "MOBILE_REQUESTS_PER_MINUTE": UNLIMITED,
            **({API_TOKEN_VARIABLE: API_TOKEN} if self.channel == "mobile" else {}),
        }

    def prepare(self) -> None:
        """Write what the servers read."""
        from actions.directory import ensure_sample

        self.folder.mkdir(parents=True, exist_ok=True)
        ensure_sample(self.environ["DIRECTORY_URL"], server.SAMPLE)
        self.write_keys()
        path = baselines.write_endpoints(self.folder)
        endpoints = yaml.safe_load(path.read_text(encoding="utf-8"))
        if self.events is not None:
            endpoints["tracker_store"]["db"] = str(self.events)
        if self.channel == "rest":
            endpoints["tracker_store"]["type"] = "SQL"
            url = f"http://{processes.HOST}:{self.actions_port}/webhook"
            # The action server asks for it, whoever starts it.
            secret = {"Authorization": f"Bearer {self.environ['ACTIONS_SECRET']}"}
            endpoints["action_endpoint"] = {"url": url, "headers": secret}
        path.write_text(yaml.safe_dump(endpoints), encoding="utf-8")

    def write_keys(self) -> None:
        """Write the public key that tokens are checked with."""
        (self.folder / "jwks.json").write_text(json.dumps(self.provider.key_set), encoding="utf-8")

    def start(self, name: str, arguments: list[str], ready: str) -> None:
        """Start ``python ARGUMENTS`` as ``name`` and wait until the address ``ready`` answers."""
        log = self.folder / f"{name}.log"
        self.children[name] = processes.start(name, arguments, log=log, environ=self.environ)
        processes.wait_until_ready([self.children[name]], [ready])

    def start_actions(self) -> None:
        """Start the action server, also again."""
        module = ["-m", "actions.server", "--host", processes.HOST]
        if self.channel == "rest":
            module = ["-m", "rasa_sdk", "--actions", "actions"]
        ready = f"http://{processes.HOST}:{self.actions_port}/health"
        self.start("actions", [*module, "--port", str(self.actions_port)], ready)

    def start_bot(self, model: Path) -> None:
        """Start the bot, also again."""
        endpoints = ["--endpoints", str(self.folder / "endpoints.yml"), "--model", str(model)]
        arguments = ["run", "--interface", processes.HOST, "--port", str(self.port), *endpoints]
        if self.channel == "mobile":
            ready = f"{self.base}{MOBILE_PATH}/ready"
            self.start("bot", ["-m", "bot.runtime.rasa_cli", *arguments], ready)
            return
        credentials = self.folder / "credentials.yml"
        credentials.write_text("rest:\n", encoding="utf-8")
        arguments += ["--credentials", str(credentials)]
        self.start("bot", ["-m", "rasa", *arguments], f"{self.base}/webhooks/rest/")


@contextlib.contextmanager
def up(site: Site, model: Path) -> Iterator[Site]:
    """Start the servers of ``site``; they are stopped however the body ends."""
    with processes.stopping_on_signals():
        try:
            site.prepare()
            site.start_actions()
            site.start_bot(model)
            yield site
        finally:
            processes.stop(list(site.children.values()))


@contextlib.contextmanager
def clustered(model: Path, folder: Path) -> Iterator[Site]:
    """Give a cluster of two bots and two action servers.

    Raises:
        UserError: the engines are not there.
    """
    folder.mkdir(parents=True)
    site = Site("cluster", "mobile", folder)
    site.write_keys()
    keys = {name: value for name, value in site.environ.items() if name.startswith("MOBILE")}
    try:
        with processes.stopping_on_signals(), Cluster(model=model, environ=keys) as cluster:
            site.cluster = cluster
            yield site
    except ClusterError as error:
        raise UserError(str(error)) from error


def stock_model() -> Path:
    """Return the model of the same bot on the pipeline of `rasa init`, trained unless it is there.

    It is kept in ``results/`` until domain or training data change. A fifth of the usual epochs is
    enough to answer sensibly, and an answer takes no longer after more of them.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    peer = baselines.peers(["diet"], RESULTS, 20)["diet"]
    digest = hashlib.sha256(json.dumps(peer.config).encode())
    for path in (PROJECT_ROOT / "domain.yml", *sorted((PROJECT_ROOT / "data").rglob("*.yml"))):
        digest.update(path.read_bytes())
    stamp, model = RESULTS / "diet.sha256", RESULTS / "diet.tar.gz"
    if not (model.exists() and stamp.exists() and stamp.read_text() == digest.hexdigest()):
        baselines.train("diet", peer, RESULTS)
        stamp.write_text(digest.hexdigest())
    return model
