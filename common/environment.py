"""Who may reach the servers: development on this machine alone, or production with sign-in.

What has no authentication (Rasa's ``rest`` channel, development tokens, an action server without
a secret) answers callers of this machine only. The caller of each request is judged, not where the
server listens: plain ``rasa run`` listens on all interfaces. Behind a proxy on the same machine
every caller looks local, so ``BOT_PRODUCTION`` closes such routes to everybody.
What is written down about people is for the servers' own user to read.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from sanic.request import Request

# Where the server listens, if whoever started it said so.
INTERFACE_VARIABLE = "BOT_INTERFACE"
PRODUCTION_VARIABLE = "BOT_PRODUCTION"
# What the bot and its action server authenticate each other's requests with.
ACTIONS_SECRET_VARIABLE = "ACTIONS_SECRET"
MIN_SECRET_LENGTH = 16
# Channels of Rasa that ask nobody who they are. In `rasa shell`, `rest` is the terminal's.
OPEN_CHANNELS = ("rest", "callback", "rocketchat")
# Only a proxy sends these.
FORWARDING_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip")


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches ``host``; a name other than localhost is taken as
    public."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_production() -> bool:
    """Return whether ``BOT_PRODUCTION`` is set."""
    value = os.environ.get(PRODUCTION_VARIABLE, "").strip().lower()
    return value not in ("", "0", "false", "no")


def is_development(host: str | None = None) -> bool:
    """Return whether a server on ``host`` may have routes without authentication.

    ``host`` is ``$BOT_INTERFACE`` by default. A server that was not told where it listens may have
    them: :func:`is_local` judges each caller.
    """
    host = os.environ.get(INTERFACE_VARIABLE) if host is None else host
    return not is_production() and (host is None or is_loopback(host))


def is_local(request: Request) -> bool:
    """Return whether ``request`` comes from this machine, to one of its own names, and not through
    a proxy: a page elsewhere can give its own name the address of this machine."""
    forwarded = any(header in request.headers for header in FORWARDING_HEADERS)
    if is_production() or forwarded or not is_loopback(request.ip):
        return False
    host = request.headers.get("host")
    return not host or _names_this_machine(f"//{host}")


def is_from_own_page(request: Request) -> bool:
    """Return whether ``request`` comes from a page of this machine, or from no page at all."""
    origin = request.headers.get("origin")
    return origin is None or _names_this_machine(str(origin))


def _names_this_machine(address: str) -> bool:
    try:
        return is_loopback(urlsplit(address).hostname or "")
    except ValueError:
        return False


def keep_private(path: Path) -> None:
    """Have the file at ``path``, made empty unless it is there, belong to its owner alone.

    So do the files that SQLite keeps beside a database. What cannot be done is left: whoever opens
    the file next says why.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    for beside in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            os.chmod(f"{path}{beside}", 0o600)


def probe_address(host: str) -> str:
    """Return the address at which this machine reaches a server that listens on ``host``."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{address}]" if ":" in address else address
