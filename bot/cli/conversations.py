"""``bot conversations …``: what users have said, and how long it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bot.channels.conversations import Conversations

app = typer.Typer(
    help="Delete stored conversations (the tracker store of endpoints.yml).",
    no_args_is_help=True,
)

Endpoints = Annotated[
    Path, typer.Option(envvar="BOT_ENDPOINTS", help="File that names the tracker store.")
]
DEFAULT_ENDPOINTS = Path("endpoints.yml")


def stored(endpoints: Path) -> Conversations:
    """Return the conversations of the bot with that ``endpoints.yml``."""
    from bot.channels.conversations import open_conversations
    from bot.runtime.rasa_cli import project_environment

    return open_conversations(endpoints, project_environment())


@app.command()
def purge(
    days: Annotated[float, typer.Argument(min=0, help="Age in days.")],
    endpoints: Endpoints = DEFAULT_ENDPOINTS,
) -> None:
    """Delete what was said more than DAYS ago, as the running bot does (RETENTION_DAYS)."""
    from sqlalchemy.exc import SQLAlchemyError

    from common.errors import UserError

    try:
        number = stored(endpoints).purge(days * 86400)
    except SQLAlchemyError as error:
        raise UserError(f"The tracker store fails: {error}") from None
    typer.echo(f"{number} events deleted")


@app.command()
def delete(
    subject: Annotated[str, typer.Argument(help="Subject (`sub`) of the user's tokens.")],
    issuer: Annotated[
        str, typer.Option(help="Issuer (`iss`) of the tokens.", envvar="MOBILE_ISSUER")
    ] = "",
    endpoints: Endpoints = DEFAULT_ENDPOINTS,
) -> None:
    """Delete the conversation of a user of the mobile channel."""
    from sqlalchemy.exc import SQLAlchemyError

    from bot.channels.auth import DEVELOPMENT_ISSUER, conversation_id
    from common.errors import UserError

    try:
        number = stored(endpoints).delete(conversation_id(issuer or DEVELOPMENT_ISSUER, subject))
    except SQLAlchemyError as error:
        raise UserError(f"The tracker store fails: {error}") from None
    typer.echo(f"{number} events deleted")
