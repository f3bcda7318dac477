"""Starts, stops and kills the parts of a cluster by their names."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.processes import free_port
from bot.runtime.rasa_cli import project_environment
from infra.cluster import engines
from infra.cluster.engines import HOST, ROOT, Engine
from infra.cluster.identity import AUDIENCE, ISSUER, IdentityProvider
from localaws.processes import Children

START_SECONDS = 300.0
# Longer than a bot takes to finish its turns (bot/channels/mobile.py) and Sanic its connections.
STOP_SECONDS = 45.0
MOBILE_PATH = "/webhooks/mobile/v1"
DIRECTORY_SAMPLE = ROOT / "data" / "directory.csv"

# Loopback needs no proxy, whatever the environment says.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ClusterError(RuntimeError):
    """The cluster cannot be had; the message says why."""


@dataclass
class Part:
    """One server of the cluster.

    Attributes:
        name: ``postgresql``, ``redis``, ``rabbitmq``, ``nginx``, ``bot-1`` …, ``actions-1`` ….
        engine: how it is started.
        folder: in which it runs.
        log: its output, of all its lives.
        health: address that answers 200 when it is ready, beyond its port; may be empty.
        process: the running one, or the last.
    """

    name: str
    engine: Engine
    folder: Path
    log: Path
    health: str = ""
    process: subprocess.Popen[Any] | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.engine.port

    @property
    def url(self) -> str:
        """Where it listens, as ``http://127.0.0.1:PORT``."""
        return f"http://{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process; the first one of several."""
        assert self.process is not None
        return self.process.pid

    def is_ready(self) -> bool:
        """Return whether it takes requests."""
        if not self.health:
            return engines.listens(self.port)
        try:
            with _DIRECT.open(self.health, timeout=5) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False


class Cluster:
    """Bots and action servers behind nginx, with PostgreSQL, Redis and, if wished, RabbitMQ.

    A context manager; everything ends with this process, however that ends::

        with Cluster(bots=2, actions=2) as cluster:
            httpx.post(f"{cluster.mobile_url}/messages",
                       headers={"Authorization": f"Bearer {cluster.token('marie')}"}, …)
            cluster.kill("bot-1")

    Nothing is left on disk. Users may ask as often as they like unless ``environ`` says otherwise.

    Args:
        bots, actions: how many of them.
        model: a Rasa model; None: ``models/bot.tar.gz``, which must be there.
        broker: whether there is a RabbitMQ that takes the events of conversations.
        environ: variables of bots and action servers, over those of the cluster.
        model_arguments: of ``rasa run`` in place of ``--model``.

    Attributes:
        parts: by name, in the order in which they start.
        folder: of all files, ``audit/`` and ``NAME.log`` among them.
        directory_url, tracker_url, redis_url, broker_url: of the engines.

    Raises:
        ClusterError: Debian's packages or the model are missing, or a part does not start.
    """

    def __init__(
        self,
        bots: int = 2,
        actions: int = 2,
        *,
        model: Path | str | None = None,
        broker: bool = False,
        environ: Mapping[str, str] | None = None,
        model_arguments: Iterable[str] | None = None,
    ) -> None:
        if packages := engines.missing(broker):
            raise ClusterError(f"Not installed: apt-get install {' '.join(packages)}")
        model = Path(model or ROOT / "models" / "bot.tar.gz").resolve()
        if model_arguments is None and not model.exists():
            raise ClusterError(f"There is no model {model}: make train")
        self._bots, self._actions, self._broker = bots, actions, broker
        self._environ = dict(environ or {})
        self._model_arguments = list(model_arguments or ["--model", str(model)])
        self.parts: dict[str, Part] = {}

    # -- the whole ----------------------------------------------------------------------------

    def __enter__(self) -> Cluster:
        self._children = Children()
        self.folder = self._children.directory
        self.folder.chmod(0o711)  # engines run as other users
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if "postgresql" in self.parts:
                self.stop("postgresql")  # killed, it would leave shared memory behind
        finally:
            self._children.close()

    def _start_all(self) -> None:
        folder = self.folder
        self.identity = IdentityProvider(folder / "jwks.json")
        self._add("postgresql", engines.postgresql(folder / "postgresql"))
        self._add("redis", engines.redis(folder / "redis"))
        if self._broker:
            mapper, rabbitmq = engines.rabbitmq(folder / "rabbitmq")
            self._add("epmd", mapper)
            self.start("epmd")
            self._add("rabbitmq", rabbitmq)
        self._launch("postgresql", "redis", *(["rabbitmq"] if self._broker else []))
        self.tracker_url = self._create_database("tracker")
        self.directory_url = self._create_database("directory")
        self.redis_url = f"redis://{HOST}:{self.parts['redis'].port}/0"
        self.broker_url = (
            f"amqp://guest:guest@{HOST}:{self.parts['rabbitmq'].port}" if self._broker else ""
        )
        self._fill_directory()

        port, actions_port = free_port(), free_port()
        self._actions_url = f"http://{HOST}:{actions_port}"
        self._secret = secrets.token_urlsafe()
        for number in range(self._actions):
            self._add_actions(f"actions-{number + 1}")
        for number in range(self._bots):
            self._add_bot(f"bot-{number + 1}")
        ports = [[self.parts[name].port for name in names] for names in (self.bots, self.actions)]
        self._add("nginx", engines.nginx(folder / "nginx", port, actions_port, *ports))
        self._launch("nginx", *self.actions, *self.bots)

    def _fill_directory(self) -> None:
        from actions.directory import ensure_sample

        ensure_sample(self.directory_url, DIRECTORY_SAMPLE)

    @property
    def url(self) -> str:
        """Where clients find the bots: nginx."""
        return self.parts["nginx"].url

    @property
    def mobile_url(self) -> str:
        """The mobile channel, behind nginx."""
        return self.url + MOBILE_PATH

    @property
    def bots(self) -> list[str]:
        """The names of the bots."""
        return [name for name in self.parts if name.startswith("bot-")]

    @property
    def actions(self) -> list[str]:
        """The names of the action servers."""
        return [name for name in self.parts if name.startswith("actions-")]

    def token(self, subject: str, scope: str = "") -> str:
        """Return a bearer token of ``subject``, whose conversation is that subject's alone."""
        return self.identity.token(subject, scope)

    # -- the parts ----------------------------------------------------------------------------

    def start(self, name: str, wait: bool = True) -> None:
        """Start a part that does not run; return when it takes requests.

        Args:
            name: of the part.
            wait: False returns at once.

        Raises:
            ClusterError: it runs already, has ended, or takes none after five minutes.
        """
        part = self.parts[name]
        if part.running:
            raise ClusterError(f"{name} runs already.")
        with part.log.open("ab") as log:
            engines.own(part.log)
            options: dict[str, Any] = {}
            if part.engine.user is not None:
                user, group = part.engine.user
                options = {"user": user, "group": group, "extra_groups": []}
            part.process = self._children.start(
                part.engine.command,
                cwd=part.folder,
                env={**os.environ, **part.engine.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **options,
            )
        if wait:
            self.wait(name)

    def wait(self, name: str, seconds: float = START_SECONDS) -> None:
        """Wait until a part takes requests.

        Raises:
            ClusterError: it has ended, or ``seconds`` are over; with the end of its log.
        """
        part, deadline = self.parts[name], time.monotonic() + seconds
        while not part.is_ready():
            if not part.running or time.monotonic() > deadline:
                what = "is not ready" if part.running else "has ended"
                raise ClusterError(f"{name} {what}:\n{engines.end_of(part.log)}")
            time.sleep(0.1)

    def stop(self, name: str) -> float:
        """Stop a part as an administrator does; return the seconds that it took."""
        begin = time.monotonic()
        self._end(name, STOP_SECONDS)
        return time.monotonic() - begin

    def kill(self, name: str) -> None:
        """Kill a part (SIGKILL)."""
        self._end(name, 0)

    def _end(self, name: str, patience: float) -> None:
        part = self.parts[name]
        if part.process is None:
            return
        if patience and part.running:
            part.process.send_signal(part.engine.stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                part.process.wait(patience)
        self._children.stop(part.process, patience=0)

    def restart(self, name: str) -> None:
        """Stop a part and start it again."""
        self.stop(name)
        self.start(name)

    def rolling_restart(self, names: Iterable[str] | None = None) -> None:
        """Restart bots and action servers (or ``names``), one after the other."""
        for name in names if names is not None else [*self.actions, *self.bots]:
            self.restart(name)

    def _launch(self, *names: str) -> None:
        for name in names:
            self.start(name, wait=False)
        for name in names:
            self.wait(name)

    def _add(self, name: str, engine: Engine, health: str = "") -> None:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        self.parts[name] = Part(name, engine, folder, self.folder / f"{name}.log", health)

    def _add_actions(self, name: str) -> None:
        port = free_port()
        command = [sys.executable, "-m", "actions.server", "--host", HOST, "--port", str(port)]
        self._add(name, Engine(command, port, self.environ), f"http://{HOST}:{port}/ready")

    def _add_bot(self, name: str) -> None:
        port = free_port()
        command = [sys.executable, "-m", "bot.runtime.rasa_cli", "run", "--interface", HOST]
        command += ["--port", str(port), "--credentials", str(ROOT / "credentials.yml")]
        command += self._model_arguments
        health = f"http://{HOST}:{port}{MOBILE_PATH}/ready"
        self._add(name, Engine(command, port, self.environ), health)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of bots and action servers."""
        return {
            **project_environment(),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "BOT_PRODUCTION": "1",
            "BOT_ENDPOINTS": str(ROOT / "endpoints.production.yml"),
            "DIRECTORY_URL": self.directory_url,
            "TRACKER_URL": self.tracker_url,
            "REDIS_URL": self.redis_url,
            "EVENT_BROKER_URL": self.broker_url,
            "ACTIONS_URL": f"{self._actions_url}/webhook",
            "ACTIONS_SECRET": self._secret,
            "AUDIT_LOG": str(self.folder / "audit"),
            "MOBILE_JWKS": str(self.identity.keys),
            "MOBILE_ISSUER": ISSUER,
            "MOBILE_AUDIENCE": AUDIENCE,
            "MOBILE_REQUESTS_PER_MINUTE": "1000000",
            **self._environ,
        }

    # -- databases ----------------------------------------------------------------------------

    def _create_database(self, name: str) -> str:
        import psycopg2

        server = f"postgresql://postgres@{HOST}:{self.parts['postgresql'].port}"
        deadline = time.monotonic() + START_SECONDS
        while True:  # it takes connections before it is through with starting
            try:
                connection = psycopg2.connect(f"{server}/postgres")
                break
            except psycopg2.OperationalError as error:
                if time.monotonic() > deadline:
                    raise ClusterError(f"PostgreSQL does not start: {error}") from None
                time.sleep(0.1)
        connection.autocommit = True
        with contextlib.closing(connection):
            connection.cursor().execute(f"CREATE DATABASE {name}")
        return f"{server}/{name}"
