"""``bot run``: make everything ready, start the action server and the bot, stop both together."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from bot import comprehend
from bot.runtime.rasa_cli import (
    ACTIONS_PORT_VARIABLE,
    API_TOKEN_VARIABLE,
    PROJECT_ROOT,
    project_environment,
)
from common import environment
from common.disk import sha256_of
from common.errors import UserError

HOST = "127.0.0.1"
# Read by the actions, which this process need not import.
ANONYMOUS_SCOPES_VARIABLE = "ANONYMOUS_SCOPES"
CARDS_VARIABLE = "SHELL_CARDS"
EVERY_SCOPE = "*"
MODELS = PROJECT_ROOT / "models"
CREDENTIALS = PROJECT_ROOT / "credentials.yml"
LOGS = PROJECT_ROOT / "results" / "logs"
SAMPLE = PROJECT_ROOT / "data" / "directory.csv"
CONFIG = Path("config.yml")
STOP_SECONDS = 10.0
START_SECONDS = 300.0
# A server that does not answer for so long, so many times, is started again.
PROBE_SECONDS, SILENT_TRIES = 5.0, 4

# What a model is made from, besides its configuration and the versions of these packages.
MODEL_INPUTS = (
    "domain.yml",
    "domain/**/*.yml",
    "data/**/*.yml",
    "components/**/*.py",
    "common/text.py",
    "models/encoders/*/encoder.json",
)
MODEL_PACKAGES = ("rasa", "torch", "transformers", "onnxruntime", "tokenizers", "sklearn-crfsuite")


# --- progress ---------------------------------------------------------------------------------


class Steps:
    """Numbered steps with the time each took; a spinner on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.number = 0

    @contextlib.contextmanager
    def step(self, title: str, *, live: bool = True) -> Iterator[list[str]]:
        """Announce ``title``; what the body appends to the list is said with the time taken.

        ``live=False`` for a body that writes to the terminal by itself.
        """
        self.number += 1
        notes: list[str] = []
        begin = time.monotonic()
        self.console.print(f"[bold]\\[{self.number}/{self.total}][/] {title} …", highlight=False)
        with self.console.status("") if live else contextlib.nullcontext():
            yield notes
        note = f"{', '.join(notes)} " if notes else ""
        self.console.print(
            f"      {note}({time.monotonic() - begin:.1f} s)", style="green", highlight=False
        )


# --- child processes --------------------------------------------------------------------------


@dataclass
class Child:
    """A server started by us, leader of its own process group, so that all of it can be stopped."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of the log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def start(
    name: str, arguments: list[str], *, log: Path, environ: dict[str, str] | None = None
) -> Child:
    """Start ``python ARGUMENTS`` in the project root, in a session of its own, writing to ``log``.

    The terminal's Ctrl-C thus reaches only us, and we stop the children in order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment.keep_private(log)
    os.truncate(log, 0)
    # To its end, also after a rotation that empties it.
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=PROJECT_ROOT,
            env={**project_environment(), "PYTHONUNBUFFERED": "1", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(name, process, log)


def stop(children: list[Child], seconds: float = STOP_SECONDS) -> None:
    """Stop the process groups of ``children``: politely, and after ``seconds`` by force."""
    for child in children:
        _signal_group(child, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    try:
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
    finally:  # a second Ctrl-C ends the waiting, never the killing
        for child in children:
            _signal_group(child, signal.SIGKILL)
            child.process.wait()


def _signal_group(child: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, number)


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into :class:`KeyboardInterrupt` while the body runs."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# --- ports and health -------------------------------------------------------------------------


def require_free_ports(ports: dict[str, int], host: str = HOST) -> None:
    """Raise :class:`~common.errors.UserError` when a port of ``ports`` (option → port) is taken.

    ``host`` is where the first of them will be, the others are on the loopback interface.
    """
    if len(set(ports.values())) < len(ports):
        raise UserError("The bot and the action server need two different ports.")
    for (option, port), address in zip(ports.items(), (host, *[HOST] * len(ports)), strict=False):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as probe:
            # As the servers do: a port that only lingers from an ended connection is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise UserError(
                    f"Port {port} on {address} cannot be used ({error.strerror or error}). Stop "
                    f"what is running there, or choose another one: {option}."
                ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    """Return whether ``url`` answers 200.

    Raises:
        UserError: the server is there but has no model (Rasa answers 409 then, and stays up).
    """
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        if error.code == 409:
            raise UserError(
                "The bot could not load its model. Delete it (rm models/*.tar.gz), and start "
                "again: it is made anew."
            ) from error
        return False
    except OSError:
        return False


def _is_silent(url: str) -> bool:
    """Return whether nobody answers at ``url``, be it with an error."""
    try:
        urllib.request.urlopen(url, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return False
    except OSError:
        return True
    return False


def wait_until_ready(
    children: list[Child], urls: list[str], seconds: float = START_SECONDS
) -> None:
    """Wait until each of ``urls`` answers; fail early when one of ``children`` ends.

    Raises:
        UserError: a child ended, or not all were ready after ``seconds``; with the log's end.
    """
    waiting = list(urls)
    deadline = time.monotonic() + seconds
    while waiting:
        require_alive(children)
        try:
            waiting = [url for url in waiting if not _answers(url)]
        except UserError as error:
            raise UserError(f"{error}\n{_logs(children)}") from error
        if waiting and time.monotonic() > deadline:
            raise UserError(f"Not ready after {seconds:.0f} s.\n{_logs(children)}")
        time.sleep(0.1)


def keep_answering(
    children: list[Child],
    urls: list[str],
    again: list[Callable[[], Child]],
    say: Callable[[str], None],
    tries: int = SILENT_TRIES,
) -> None:
    """Start a child again that answers nobody at its address; ends by an exception alone.

    Args:
        children: that run; one that is started again takes the place of the other.
        urls, again: the address of each, and what starts it.
        say: is told of it.
        tries: after how many in vain.

    Raises:
        UserError: a child ended by itself, or does not start again.
    """
    silent = [0] * len(children)
    while True:
        for number, url in enumerate(urls):
            require_alive(children)
            silent[number] = silent[number] + 1 if _is_silent(url) else 0
            if silent[number] == tries:
                say(f"The {children[number].name} answers nobody, and is started again.")
                stop([children[number]], seconds=0)
                children[number] = again[number]()
                wait_until_ready(children, urls)
                silent[number] = 0
        time.sleep(0.5)


def require_alive(children: list[Child]) -> None:
    """Raise :class:`~common.errors.UserError` with the end of its log when a child has ended."""
    for child in children:
        status = child.process.poll()
        if status is not None:
            reason = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise UserError(f"The {child.name} has ended ({reason}).\n{_logs([child])}")


def _logs(children: list[Child]) -> str:
    return "\n".join(f"End of {os.path.relpath(child.log)}:\n{child.tail()}" for child in children)


# --- the model --------------------------------------------------------------------------------


def model_path(config: Path = CONFIG) -> Path:
    """Return where the model of a configuration belongs: that of ``config.x.yml`` in ``bot-x``.

    Without a dot: what follows one would be an ending to Rasa's ``--fixed-model-name``.

    Raises:
        UserError: there is no such configuration.
    """
    if not (PROJECT_ROOT / config).is_file():
        raise UserError(f"{config}: no such configuration; config.yml is one.")
    name = "-".join(["bot", *filter(None, config.stem.removeprefix("config").split("."))])
    return MODELS / f"{name}.tar.gz"


def _stamp_path(model: Path) -> Path:
    return model.with_name(model.name.replace(".tar.gz", ".json"))


def model_fingerprint(root: Path = PROJECT_ROOT, config: Path = CONFIG, endpoint: str = "") -> str:
    """Return a hash of all that a model of the project in ``root`` depends on, in hexadecimal.

    ``endpoint`` tells which one of a classifier elsewhere it asks.
    """
    digest = hashlib.sha256(endpoint.encode())
    for package in MODEL_PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "none"
        digest.update(f"{package}={version}\n".encode())
    files = {path for pattern in MODEL_INPUTS for path in root.glob(pattern)} | {root / config}
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def fresh_model(config: Path = CONFIG, endpoint: str = "") -> Path | None:
    """Return the model that was trained from the present inputs, if there is one."""
    model = model_path(config)
    fingerprint = model_fingerprint(config=config, endpoint=endpoint)
    try:
        stamp = json.loads(_stamp_path(model).read_text(encoding="utf-8"))
        if not isinstance(stamp, dict) or stamp.get("fingerprint") != fingerprint:
            return None
        # Last, since a digest reads the whole model. Stamps of older versions have its size alone.
        held = {"size": model.stat().st_size} if "size" in stamp else {"sha256": sha256_of(model)}
    except (OSError, ValueError):
        return None
    return model if stamp == {"fingerprint": fingerprint, **held} else None


@contextlib.contextmanager
def training() -> Iterator[None]:
    """Hold the lock of the models: who comes while another process trains waits, and says so."""
    MODELS.mkdir(exist_ok=True)
    lock = FileLock(MODELS / ".lock", is_singleton=True)  # so this process may take it twice
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print("      another process trains; waiting for its model …", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def train(config: Path = CONFIG, arguments: list[str] | None = None, endpoint: str = "") -> Path:
    """Train a model and note what it was made from; return its path.

    Its progress goes to the terminal; Rasa's own bars and log only where the ``arguments`` for
    ``rasa train`` ask for them. ``endpoint`` is as of :func:`model_fingerprint`.

    Raises:
        UserError: the training failed.
    """
    with training():
        return _train(model_path(config), config, arguments or [], endpoint)


def _train(model: Path, config: Path, arguments: list[str], endpoint: str) -> Path:
    # Before: what is edited meanwhile is not in the model.
    fingerprint = model_fingerprint(config=config, endpoint=endpoint)
    # Beside the model, which is there whole or not at all; what was left there is of a process that
    # was killed.
    folder = MODELS / ".training"
    shutil.rmtree(folder, ignore_errors=True)
    command = ["-m", "bot.runtime.rasa_cli", "train", "--config", str(config), "--out", str(folder)]
    if not {"--debug", "-vv", "--verbose", "-v"}.intersection(arguments):
        arguments = [*arguments, "--quiet"]
    options = ["--fixed-model-name", model.name.removesuffix(".tar.gz"), *arguments]
    # In our process group: whatever stops that stops the training as well.
    process = subprocess.Popen(
        [sys.executable, *command, *options], cwd=PROJECT_ROOT, env=project_environment()
    )
    try:
        with stopping_on_signals():
            status = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    trained = folder / model.name
    if status != 0 or not trained.exists():
        raise UserError(f"The training failed (exit status {status}); its output is above.")
    trained.replace(model)
    folder.rmdir()
    write_stamp(model, fingerprint)
    return model


def write_stamp(model: Path, fingerprint: str) -> None:
    """Note beside the model what it was made from, and its digest, to know it again."""
    stamp = json.dumps({"fingerprint": fingerprint, "sha256": sha256_of(model)})
    _stamp_path(model).write_text(f"{stamp}\n", encoding="utf-8")


def ensure_model(config: Path = CONFIG) -> Path:
    """Return a model of the present inputs, trained now unless there is one."""
    with training():
        return fresh_model(config) or train(config)


# --- the two servers --------------------------------------------------------------------------


@dataclass(frozen=True)
class Addresses:
    """Where both servers listen; the action server on the loopback interface, for its bot alone."""

    host: str
    port: int
    actions_port: int
    actions_secret: str

    @property
    def development(self) -> bool:
        """Whether nobody else reaches the bot."""
        return environment.is_development(self.host)

    @property
    def environ(self) -> dict[str, str]:
        """What both servers are told by the environment."""
        return {
            ACTIONS_PORT_VARIABLE: str(self.actions_port),
            environment.ACTIONS_SECRET_VARIABLE: self.actions_secret,
        }


def addresses(host: str, port: int, actions_port: int) -> Addresses:
    """Return addresses with the secret of the environment, else a new one."""
    given = os.environ.get(environment.ACTIONS_SECRET_VARIABLE)
    return Addresses(host, port, actions_port, given or secrets.token_urlsafe())


def start_action_server(at: Addresses, environ: dict[str, str] | None = None) -> Child:
    """Start the action server, with ``environ`` besides.

    In development it shows everything of a person to users of channels without sign-in.
    """
    anonymous = os.environ.get(ANONYMOUS_SCOPES_VARIABLE, EVERY_SCOPE if at.development else "")
    return start(
        "action server",
        ["-m", "actions.server", "--host", HOST, "--port", str(at.actions_port)],
        log=LOGS / f"actions-{at.actions_port}.log",
        environ={**at.environ, ANONYMOUS_SCOPES_VARIABLE: anonymous, **(environ or {})},
    )


def start_bot(at: Addresses, model: Path, token: str) -> Child:
    """Start Rasa's server; ``token`` opens its ``/status``."""
    arguments = ["run", "--interface", at.host, "--port", str(at.port), "--model", str(model)]
    return start(
        "bot",
        ["-m", "bot.runtime.rasa_cli", *arguments],
        log=LOGS / f"bot-{at.port}.log",
        environ={**at.environ, API_TOKEN_VARIABLE: token},
    )


def _steps(console: Console, config: Path) -> Steps:
    """Return the steps of :func:`_prepare`, and one to start.

    Raises:
        UserError: there is no such configuration.
    """
    model_path(config)  # says so
    return Steps(console, total=4 + _asks_comprehend(config))


def _asks_comprehend(config: Path) -> bool:
    return comprehend.classifier_of(PROJECT_ROOT / config) is not None


def _prepare(steps: Steps, config: Path) -> Path:
    """Encoder, directory, endpoint, model: make what is missing or outdated; return the model."""
    with steps.step("Offline encoder") as notes:
        notes.append(_ensure_encoder())
    with steps.step("Collaborator directory") as notes:
        notes.append(ensure_directory())
    asks_comprehend, endpoint = _asks_comprehend(config), ""
    if asks_comprehend:
        with steps.step("Amazon Comprehend", live=False):
            found = comprehend.ensure_endpoint(PROJECT_ROOT / config, steps.console)
            endpoint = f"{found.arn} {found.model_arn}" if found else ""
    trainable = asks_comprehend or can_train()
    with training():
        model = fresh_model(config, endpoint)
        if model is None and not trainable and model_path(config).exists():
            with steps.step("Model") as notes:
                notes.append("as it is, trained elsewhere")
            return model_path(config)
        with steps.step("Model", live=model is not None) as notes:
            notes.append("trained" if model is None else "up to date")
            return model or train(config, endpoint=endpoint)


def can_train() -> bool:
    """Return whether the packages of training are installed; serving does without."""
    return importlib.util.find_spec("torch") is not None


def _ensure_encoder() -> str:
    from components.camembert import offline_encoder

    if not can_train():
        return "left out: nothing is trained on this machine"
    folder = offline_encoder.ENCODERS_FOLDER / offline_encoder.OFFLINE_ENCODER
    built = offline_encoder.build(folder)
    return f"{os.path.relpath(folder, PROJECT_ROOT)}: {'built' if built else 'intact'}"


def ensure_directory() -> str:
    """Fill an empty directory with the sample; return what was found or done.

    Raises:
        UserError: the directory cannot be reached.
    """
    from actions.directory import DirectoryError, ensure_sample

    try:
        filled = ensure_sample(None, SAMPLE)
    except DirectoryError as error:
        raise UserError(str(error)) from error
    return f"filled with {SAMPLE.name}" if filled else "has people: left as it is"


def run(
    port: int, actions_port: int, console: Console, host: str = HOST, config: Path = CONFIG
) -> None:
    """Run the bot on ``port`` and its action server on ``actions_port`` until a signal comes.

    Args:
        port: of the bot.
        actions_port: of the action server.
        console: where progress is shown.
        host: address on which the bot listens.
        config: of the model, in the project's folder.

    Raises:
        UserError: the bot would be open to everybody, a port is taken, a step failed, or a server
            ended by itself.
    """
    from bot.channels.settings import require_authentication

    require_authentication(CREDENTIALS, host, project_environment())
    at = addresses(host, port, actions_port)
    require_free_ports(
        {"PORT=… or --port": port, "ACTIONS_PORT=… or --actions-port": actions_port}, host
    )
    with _children(console) as children:
        steps = _steps(console, config)
        model = _prepare(steps, config)
        with steps.step(f"Starting action server and bot (logs: {os.path.relpath(LOGS)})"):
            token = os.environ.get(API_TOKEN_VARIABLE) or secrets.token_urlsafe()
            starts = [lambda: start_action_server(at), lambda: start_bot(at, model, token)]
            children.extend(start() for start in starts)
            urls = [
                f"http://{HOST}:{actions_port}/health",
                f"http://{environment.probe_address(host)}:{port}/status?token={token}",
            ]
            wait_until_ready(children, urls)
        console.print(_ready_message(at), highlight=False, soft_wrap=True)
        keep_answering(children, urls, starts, console.print)


@contextlib.contextmanager
def _children(console: Console) -> Iterator[list[Child]]:
    """Give a list; whatever ends the body, the children in it are stopped. Ctrl-C is a good end."""
    children: list[Child] = []
    with contextlib.suppress(KeyboardInterrupt), stopping_on_signals():
        try:
            yield children
        finally:
            if children:
                console.print("Stopping …")
            stop(children)
            if children:
                console.print("Stopped.")


def _ready_message(at: Addresses) -> str:
    url, actions = f"http://{environment.probe_address(at.host)}:{at.port}", at.actions_port
    listens = f"\n[bold green]The bot listens on {url}[/] (action server: http://{HOST}:{actions})."
    if not at.development:
        return f"{listens} Apps: {url}/webhooks/mobile/v1\n\nCtrl-C stops both."
    body = json.dumps(
        {"sender": "moi", "message": "Qui connaît Kubernetes à Nantes ?"}, ensure_ascii=False
    )
    curl = (
        f"curl -s {url}/webhooks/rest/webhook "
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )
    return f"{listens} Open it in a browser, or ask:\n\n  {curl}\n\nCtrl-C stops both."


def shell(
    actions_port: int, console: Console, config: Path = CONFIG, *, debug: bool = False
) -> None:
    """Run ``rasa shell`` in this terminal with the action server beside it.

    Args:
        actions_port: of the action server.
        console: where progress is shown.
        config: of the model, in the project's folder.
        debug: show Rasa's log, and the cards as JSON.
    """
    require_free_ports({"ACTIONS_PORT=… or --actions-port": actions_port})
    with _children(console) as children:
        steps = _steps(console, config)
        model = _prepare(steps, config)
        with steps.step("Starting the action server"):
            at = addresses(HOST, _free_port(), actions_port)
            children.append(start_action_server(at, {CARDS_VARIABLE: "1"} if debug else {}))
            wait_until_ready(children, [f"http://{HOST}:{actions_port}/health"])
        # `rasa shell` is a server of its own with a client: on our interface, beside any other bot.
        address = ["--interface", at.host, "--port", str(at.port)]
        options = [*address, *(["--debug"] if debug else [])]
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "bot.runtime.rasa_cli",
                "shell",
                "--model",
                str(model),
                *options,
            ],
            cwd=PROJECT_ROOT,
            env={**project_environment(), **at.environ},
        )
        try:
            process.wait()
        finally:  # it shares our terminal, and has had the same Ctrl-C
            process.terminate()
            process.wait()
