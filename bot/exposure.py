"""Who may reach the servers: development on the loopback interface, or production with sign-in.

What has no authentication (Rasa's ``rest`` channel, development tokens) is open in development
only. A process is in development when ``BOT_INTERFACE`` says that it listens on the loopback
interface, and ``BOT_PRODUCTION`` is not set: set it where a proxy on the same machine makes a
loopback address public. A process that was not told where it listens is in production.
"""

from __future__ import annotations

import ipaddress
import os

INTERFACE_VARIABLE = "BOT_INTERFACE"
PRODUCTION_VARIABLE = "BOT_PRODUCTION"
# What the bot and its action server authenticate each other's requests with.
ACTIONS_SECRET_VARIABLE = "ACTIONS_SECRET"
MIN_SECRET_LENGTH = 16


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches ``host``; a name other than localhost is taken as
    public."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_development(host: str | None = None) -> bool:
    """Return whether a server on ``host`` is one for development; by default ``$BOT_INTERFACE``."""
    host = os.environ.get(INTERFACE_VARIABLE) if host is None else host
    production = os.environ.get(PRODUCTION_VARIABLE, "").strip().lower()
    return bool(host) and is_loopback(str(host)) and production in ("", "0", "false", "no")


def probe_address(host: str) -> str:
    """Return the address at which this machine reaches a server that listens on ``host``."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{address}]" if ":" in address else address
