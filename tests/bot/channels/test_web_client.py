"""The web client: what is served at `/`, what is built, and the page in a real browser.

The tests in the browser are in bot/channels/web/e2e; here is the bot that they talk to.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rasa.core.channels.channel import register
from rasa.shared.exceptions import RasaException

from actions.directory import ensure_sample
from bot.channels.web_client import DIST, WebClient
from bot.processes import free_port
from common import environment
from tests.support import HOST, ROOT
from tests.support.action_server import start_action_server
from tests.support.mobile_server import MobileServer

WEB = DIST.parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
GENEROUS = {"requests_per_minute": 100_000, "burst": 100_000}

needs_npm = pytest.mark.skipif(
    shutil.which("npm") is None, reason="npm is not installed: apt-get install nodejs npm"
)
needs_chromium = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="there is no Chromium: apt-get install chromium"
)


class WebServer(MobileServer):
    """The mobile channel with the web client beside it."""

    def __init__(self, model: str | None, actions_port: int, folder: Path) -> None:
        super().__init__(model, GENEROUS, actions_port, folder / "events.db")
        self.host_port = free_port()
        settings = {"hosts": f"http://{HOST}:{self.host_port}", "teams": True}
        client = WebClient.from_credentials(settings)
        register([client], self.app, route="/webhooks/")  # as `rasa run` does

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"


@pytest.fixture(scope="module", autouse=True)
def development() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(environment.INTERFACE_VARIABLE, HOST)
        patch.delenv(environment.PRODUCTION_VARIABLE, raising=False)
        yield


def run(*command: str, timeout: float = 600, **environ: str) -> str:
    """Run a command in the client's folder; return its output, which a failure shows."""
    result = subprocess.run(
        command,
        cwd=WEB,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def packages() -> None:
    """Install the locked packages, unless they are."""
    installed, locked = WEB / "node_modules/.package-lock.json", WEB / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < locked.stat().st_mtime:
        run("npm", "ci", "--no-audit", "--no-fund")


# --- what is served ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server without a model: the page is there nevertheless."""
    folder = tmp_path_factory.mktemp("site")
    with (
        WebServer(None, free_port(), folder) as server,
        httpx.Client(base_url=server.address) as http,
    ):
        yield http


def test_the_page_is_at_the_root(site: httpx.Client) -> None:
    response = site.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text == (DIST / "index.html").read_text(encoding="utf-8")
    assert 'lang="fr"' in response.text


def test_all_that_the_page_names_is_there(site: httpx.Client) -> None:
    named = re.findall(r'(?:src|href)="(/[^"]+)"', site.get("/").text)
    icons = [icon["src"] for icon in site.get("/manifest.webmanifest").json()["icons"]]
    assert len(named) >= 5
    for path in [*named, *icons, "/sw.js"]:
        response = site.get(path)
        assert response.status_code == 200, path
        assert response.content == (DIST / path[1:]).read_bytes()


def test_the_service_worker_keeps_all_files(site: httpx.Client) -> None:
    worker = site.get("/sw.js").text
    files = {path.relative_to(DIST).as_posix() for path in DIST.rglob("*") if path.is_file()}
    for name in files - {"sw.js", "index.html"}:
        assert f'"/{name}"' in worker
    assert '"/"' in worker


def test_the_policy_lets_nothing_in_from_elsewhere(site: httpx.Client) -> None:
    policy = site.get("/").headers["content-security-policy"]
    directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert directives["connect-src"] == "'self'"
    assert re.fullmatch(rf"http://{HOST}:\d+", directives["frame-ancestors"])
    assert "unsafe" not in policy
    assert site.get("/sw.js").headers["content-security-policy"] == policy
    assert site.get("/").headers["x-content-type-options"] == "nosniff"


def test_without_hosts_no_page_may_frame_it() -> None:
    headers = WebClient.from_credentials(None).files["index.html"].headers
    assert headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")


@pytest.mark.parametrize(
    "host",
    ["intranet", "https://a.example/path", "https://a.example; script-src *", "*", "https://*"],
)
def test_hosts_are_origins(host: str) -> None:
    with pytest.raises(RasaException, match="no origin"):
        WebClient.from_credentials({"hosts": [host]})


def test_the_page_is_told_its_settings(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"teams": True, "voice": True, "photos": None}
    assert site.get("/client.json").json() == settings
    policy = site.get("/").headers["permissions-policy"]
    assert policy == "camera=(), geolocation=(), microphone=(self)"
    monkeypatch.setenv("CLIENT_VOICE", "0")
    silent = WebClient.from_credentials({"voice": True})
    assert silent.settings == {"teams": False, "voice": False, "photos": None}
    assert "microphone=()" in silent.files["index.html"].headers["Permissions-Policy"]
    with pytest.raises(RasaException, match="teams is true or false, not 'maybe'"):
        WebClient.from_credentials({"teams": "maybe"})


def test_photos_come_from_one_address_alone() -> None:
    address = "https://photos.example.com/{id}.jpg"
    client = WebClient.from_credentials({"photos": address})
    assert client.settings["photos"] == address
    policy = client.files["index.html"].headers["Content-Security-Policy"]
    assert "; img-src 'self' https://photos.example.com; " in policy
    assert WebClient.from_credentials({"photos": "/photos/{email}"}).photos


@pytest.mark.parametrize(
    "photos",
    ["https://a.example/x.jpg", "a.example/{id}", "https://a.example;/{id}", "//a/{id}", 1],
)
def test_photos_are_an_address_with_a_place_for_somebody(photos: object) -> None:
    with pytest.raises(RasaException, match=r"photos: .* is no address"):
        WebClient.from_credentials({"photos": photos})


def test_files_are_cached_and_compressed(site: httpx.Client) -> None:
    page = site.get("/")
    assert page.headers["cache-control"] == "no-cache"
    script = re.search(r'src="(/assets/[^"]+)"', page.text)
    assert script
    response = site.get(script[1], headers={"Accept-Encoding": "gzip"})
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in response.headers["vary"].lower()
    plain = site.get(script[1], headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == response.content
    again = site.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_other_addresses_are_left_alone(site: httpx.Client) -> None:
    assert site.get("/webhooks/mobile/v1/health").json() == {"status": "ok"}
    assert site.get("/nowhere").status_code == 404
    assert site.get("/assets/../index.html").status_code == 404
    assert site.post("/").status_code == 405


# --- what is built ----------------------------------------------------------------------------


def test_it_is_small() -> None:
    loaded = [path for path in DIST.rglob("*") if path.suffix in (".html", ".js", ".css")]
    assert sum(len(gzip.compress(path.read_bytes())) for path in loaded) < 30_000


def test_no_address_of_a_third_party_is_in_it() -> None:
    for path in DIST.rglob("*"):
        if path.suffix in (".html", ".js", ".css", ".webmanifest"):
            addresses = re.findall(r"https?://[\w.-]+", path.read_text(encoding="utf-8"))
            # Names of the markup languages, which nothing is loaded from, and what a tap opens
            # where `teams` is set.
            assert set(addresses) <= {"http://www.w3.org", "https://teams.microsoft.com"}, path


def test_the_lock_file_names_no_registry() -> None:
    locked = (WEB / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in locked
    assert "registry" not in locked
    assert '"integrity"' in locked


@needs_npm
def test_what_is_checked_in_is_what_is_built(packages: None, tmp_path: Path) -> None:
    run("npm", "run", "check")
    run("npx", "vite", "build", "--outDir", str(tmp_path / "dist"), "--logLevel", "warn")
    built = {
        path.relative_to(tmp_path / "dist"): path.read_bytes()
        for path in (tmp_path / "dist").rglob("*")
        if path.is_file()
    }
    present = {path.relative_to(DIST): path.read_bytes() for path in DIST.rglob("*.*")}
    assert built.keys() == present.keys(), "run `npm run build` and commit dist/"
    assert [name for name in built if built[name] != present[name]] == []


# --- the page in a browser --------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """The bot as it is, with the directory that comes with it."""
    folder = tmp_path_factory.mktemp("web")
    url = f"sqlite:///{folder / 'directory.db'}"
    ensure_sample(url, ROOT / "data/directory.csv")
    port = free_port()
    for _ in start_action_server(url, folder, port):
        with WebServer(str(trained_model), port, folder) as running:
            yield running


@needs_npm
@needs_chromium
@pytest.mark.parametrize("screen", ["phone", "desktop"])
def test_in_a_browser(screen: str, server: WebServer, packages: None, tmp_path: Path) -> None:
    run(
        "npx", "playwright", "test", f"--project={screen}", f"--output={tmp_path}",
        BASE_URL=server.address,
        HOST_PORT=str(server.host_port),
        CHROMIUM=CHROMIUM,
    )  # fmt: skip
