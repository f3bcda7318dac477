"""The web client at ``/``: the files that ``web/`` is built into, with the headers they need.

``credentials.yml`` registers it; :data:`VARIABLES` of the environment win over it::

    bot.channels.web_client.WebClient:
      hosts: https://intranet.example.com
      photos: https://photos.example.com/{id}.jpg
      teams: true
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
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

# Setting → environment variable.
VARIABLES = {
    "hosts": "CLIENT_HOSTS",
    "photos": "CLIENT_PHOTOS",
    "teams": "CLIENT_TEAMS",
    "voice": "CLIENT_VOICE",
}
# What the page itself is told → whether it is so unless said.
SWITCHES = {"teams": False, "voice": True}
SETTINGS = "client.json"
# As credentials.yml names it.
_NAME = "bot.channels.web_client.WebClient"
# Of this server or of another; what stands before the path goes into a header.
_PHOTOS = re.compile(r"(https?://[\w.:-]+)?/(?!/)[^\s;{}]*(\{(id|email)\}[^\s;{}]*)+")
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
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'{photos}; "
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
    def of(cls, path: Path, name: str, client: WebClient) -> File:
        """Read ``path``, which is ``name`` beneath the folder of the build of ``client``."""
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
                hosts=" ".join(client.hosts) or "'none'",
                photos=f" {_origin(client.photos)}".rstrip(),
            )
            microphone = "self" if client.voice else ""
            headers["Permissions-Policy"] = f"camera=(), geolocation=(), microphone=({microphone})"
            if not client.hosts:
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
        photos: address of somebody's photo, with ``{id}`` or ``{email}`` in it; empty for none.
        teams: whether people are written to by Microsoft Teams.
        voice: whether questions may be spoken, where the browser understands speech.
    """

    @classmethod
    def name(cls) -> str:
        """Return the channel's name."""
        return "client"

    @classmethod
    def from_credentials(cls, credentials: dict[str, Any] | None) -> WebClient:
        """Return the channel with the settings of ``credentials.yml``.

        Raises:
            RasaException: a setting is wrong.
        """
        settings = {"hosts": "", "photos": "", **SWITCHES, **(credentials or {})}
        given = {
            name: os.environ.get(variable, "").strip() or settings[name]
            for name, variable in VARIABLES.items()
        }
        hosts, photos = given["hosts"] or "", given["photos"] or ""
        switches = {name: _switch(name, given[name]) for name in SWITCHES}
        return cls(tuple(hosts.split() if isinstance(hosts, str) else hosts), photos, **switches)

    def __init__(
        self,
        hosts: tuple[str, ...] = (),
        photos: str = "",
        *,
        teams: bool = False,
        voice: bool = True,
    ) -> None:
        for host in hosts:
            parts = urlsplit(host if isinstance(host, str) else "")
            # It goes into a header: nothing but an origin may.
            if (
                host != f"{parts.scheme}://{parts.netloc}"
                or not parts.netloc
                or set(host) & set(";*")
            ):
                raise RasaException(
                    f"credentials.yml, {_NAME}: {host!r} is no origin such as "
                    " https://intranet.example.com."
                )
        if photos and not _PHOTOS.fullmatch(str(photos)):
            raise RasaException(
                f"credentials.yml, {_NAME}: photos: {photos!r} is no address "
                "such as https://photos.example.com/{id}.jpg, or with {email}."
            )
        self.hosts, self.photos, self.voice = hosts, photos, voice
        self.settings = {"teams": teams, "voice": voice, "photos": photos or None}
        paths = {path.relative_to(DIST).as_posix(): path for path in sorted(DIST.rglob("*"))}
        self.files = {
            name: File.of(path, name, self) for name, path in paths.items() if path.is_file()
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

        async def send_settings(_: Request) -> HTTPResponse:
            headers = {"Cache-Control": REVALIDATED, "X-Content-Type-Options": "nosniff"}
            body = json.dumps(self.settings)
            return HTTPResponse(body, headers=headers, content_type="application/json")

        blueprint.add_route(send_settings, f"/{SETTINGS}", methods=("GET",), name="settings")
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


def _origin(photos: str) -> str:
    """Return where photos come from; empty for this server."""
    parts = urlsplit(photos)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _switch(name: str, value: object) -> bool:
    known = {"1": True, "true": True, "0": False, "false": False}
    if (text := str(value).lower()) in known:
        return known[text]
    raise RasaException(f"credentials.yml, {_NAME}: {name} is true or false, not {value!r}.")
