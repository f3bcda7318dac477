"""``bot run``, ``bot shell`` and ``bot train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

Port = Annotated[int, typer.Option(min=1, max=65535, envvar="PORT", help="Port of the bot.")]
ActionsPort = Annotated[
    int,
    typer.Option(min=1, max=65535, envvar="ACTIONS_PORT", help="Port of the action server."),
]

Config = Annotated[
    Path,
    typer.Option(envvar="BOT_CONFIG", help="The pipeline: config.yml or config.comprehend.yml."),
]
DEFAULT_CONFIG = Path("config.yml")


def run(
    port: Port = 5005,
    actions_port: ActionsPort = 5055,
    host: Annotated[
        str,
        typer.Option(
            envvar="BOT_HOST",
            help="Address to listen on; others than 127.0.0.1 need sign-in (docs/mobile.md).",
        ),
    ] = "127.0.0.1",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Build what is missing, start the action server and the bot, and keep both running."""
    from bot import server

    server.run(port, actions_port, Console(), host, config)


def shell(
    actions_port: ActionsPort = 5055,
    config: Config = DEFAULT_CONFIG,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show Rasa's log, and the cards as JSON.")
    ] = False,
) -> None:
    """Talk to the bot in this terminal."""
    from bot import server

    server.shell(actions_port, Console(), config, debug=debug)


def train(
    rasa_arguments: Annotated[
        list[str] | None, typer.Argument(help="Further arguments for `rasa train`, after --.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    debug: Annotated[bool, typer.Option("--debug", help="Show Rasa's own log and bars.")] = False,
) -> None:
    """Train a model from the configuration, domain.yml and data/."""
    from bot import rasa_model, server

    model = rasa_model.train(config, [*(rasa_arguments or []), *(["--debug"] if debug else [])])
    typer.echo(f"It is {model.relative_to(server.PROJECT_ROOT)} now.")
