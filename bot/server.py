"""``bot run``: make everything ready, start the action server and the bot, stop both together."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bot import comprehend
from bot.processes import (
    HOST,
    Child,
    free_port,
    keep_answering,
    require_free_ports,
    start,
    stop,
    stopping_on_signals,
    wait_until_ready,
)
from bot.rasa_model import CONFIG, can_train, fresh_model, model_path, train, training
from bot.runtime.rasa_cli import (
    ACTIONS_PORT_VARIABLE,
    API_TOKEN_VARIABLE,
    PROJECT_ROOT,
    project_environment,
)
from common import environment
from common.errors import UserError
from common.protocol import ANONYMOUS_SCOPES_VARIABLE, EVERY_SCOPE

CARDS_VARIABLE = "SHELL_CARDS"
CREDENTIALS = PROJECT_ROOT / "credentials.yml"
LOGS = PROJECT_ROOT / "results" / "logs"
SAMPLE = PROJECT_ROOT / "data" / "directory.csv"


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


def _ensure_encoder() -> str:
    from components import offline_encoder

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
            at = addresses(HOST, free_port(), actions_port)
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
