"""The web client at ``/``: the files that ``web/`` is built into, with the headers they need.

``credentials.yml`` registers it; ``CLIENT_HOSTS`` wins over ``hosts``::

    bot.channels.client.WebClient:
      hosts: https://intranet.example.com
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rasa.core.channels.channel import InputChannel, UserMessage
from rasa.shared.exceptions import RasaException
from sanic import Blueprint, Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

HOSTS_VARIABLE = "CLIENT_HOSTS"
DIST = Path(__file__).with_name("web") / "dist"
INDEX = "index.html"

# Not mimetypes: its tables are those of the machine.
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
COMPRESSED = frozenset({".html", ".js", ".css", ".svg", ".webmanifest"})

# The build puts a hash of the content into the names below.
HASHED = "assets/"
FOREVER = "public, max-age=31536000, immutable"
REVALIDATED = "no-cache"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors {hosts}"
)


@dataclass(frozen=True)
class File:
    """A file of the build, ready to be sent."""

    content: bytes
    compressed: bytes | None
    headers: Mapping[str, str]
    content_type: str

    @classmethod
    def of(cls, path: Path, name: str, hosts: tuple[str, ...]) -> File:
        """Read ``path``, which is ``name`` beneath the folder of the build."""
        content = path.read_bytes()
        headers = {
            "Cache-Control": FOREVER if name.startswith(HASHED) else REVALIDATED,
            "ETag": f'W/"{hashlib.sha256(content).hexdigest()[:32]}"',
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        if path.suffix in COMPRESSED:
            headers["Vary"] = "Accept-Encoding"
        if path.suffix in (".html", ".js"):  # a worker's policy is that of its own script
            headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.format(
                hosts=" ".join(hosts) or "'none'"
            )
            headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
            if not hosts:
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
        return cls(
            content,
            gzip.compress(content, mtime=0) if path.suffix in COMPRESSED else None,
            headers,
            CONTENT_TYPES[path.suffix],
        )

    def response(self, request: Request) -> HTTPResponse:
        """Answer ``request`` for this file."""
        headers = dict(self.headers)
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return HTTPResponse(status=304, headers=headers)
        content = self.content
        if self.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["Content-Encoding"] = self.compressed, "gzip"
        return HTTPResponse(content, headers=headers, content_type=self.content_type)


class WebClient(InputChannel):
    """Serves the client; what it says goes through the mobile channel.

    Args:
        hosts: origins of the pages that may show the client in a frame, and sign its user in.
    """

    @classmethod
    def name(cls) -> str:
        """Return the channel's name."""
        return "client"

    @classmethod
    def from_credentials(cls, credentials: dict[str, Any] | None) -> WebClient:
        """Return the channel with the settings of ``credentials.yml``.

        Raises:
            RasaException: one of ``hosts`` is no origin.
        """
        hosts = os.environ.get(HOSTS_VARIABLE, "").strip() or (credentials or {}).get("hosts") or ""
        return cls(tuple(hosts.split() if isinstance(hosts, str) else hosts))

    def __init__(self, hosts: tuple[str, ...] = ()) -> None:
        for host in hosts:
            parts = urlsplit(host if isinstance(host, str) else "")
            # It goes into a header: nothing but an origin may.
            if (
                host != f"{parts.scheme}://{parts.netloc}"
                or not parts.netloc
                or set(host) & set(";*")
            ):
                raise RasaException(
                    f"credentials.yml, bot.channels.client.WebClient: {host!r} is no origin such "
                    "as https://intranet.example.com."
                )
        self.files = {
            path.relative_to(DIST).as_posix(): File.of(
                path, path.relative_to(DIST).as_posix(), hosts
            )
            for path in sorted(DIST.rglob("*"))
            if path.is_file()
        }

    def url_prefix(self) -> str:
        """Return where Rasa puts the routes: absolute, so not below ``/webhooks``."""
        return "/"

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """Return the routes of the files. ``on_new_message`` stays unused."""
        blueprint = Blueprint("client")
        for name, file in self.files.items():
            if name != INDEX:
                self._add_route(blueprint, name, file)
        blueprint.listener("before_server_start")(self._take_over_root)
        return blueprint

    @staticmethod
    def _add_route(blueprint: Blueprint, name: str, file: File) -> None:
        async def send(request: Request) -> HTTPResponse:
            return file.response(request)

        route = "".join(character if character.isalnum() else "_" for character in name)
        blueprint.add_route(send, f"/{name}", methods=("GET", "HEAD"), name=route)

    def _take_over_root(self, app: Sanic, _: Any) -> None:
        """Answer at ``/``, where Rasa has a route of its own."""

        async def send_index(request: Request) -> HTTPResponse | None:
            if request.path == "/" and request.method == "GET":
                return self.files[INDEX].response(request)
            return None

        app.register_middleware(send_index, "request")
