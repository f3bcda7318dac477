"""``bot directory …``: import, export and look into the collaborator directory."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.conversations import DEFAULT_ENDPOINTS, Endpoints, stored

if TYPE_CHECKING:
    from actions.directory import Collaborator
    from bot.channels.conversations import Person

app = typer.Typer(
    help="Import, export and look into the collaborator directory (DIRECTORY_URL).",
    no_args_is_help=True,
)

_Agency = Annotated[str | None, typer.Option(help="Only people of this agency.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV or JSON file; docs/directory.md says how.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the people whom the file does not name.")
    ] = False,
    encoding: Annotated[
        str | None,
        typer.Option(help="Encoding of the file where it is not UTF-8, such as cp1252."),
    ] = None,
) -> None:
    """Add and change people, told apart by id: the whole file or, with one bad row, nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from actions.directory import Directory, InvalidFileError
    from bot.errors import UserError

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    directory = Directory()
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(f"Importing {file.name}", total=None)

            def show(done: int, total: int) -> None:
                text = "Finishing the search index" if done >= total else f"Importing {file.name}"
                bar.update(task, completed=done, total=total, description=text)

            result = directory.import_(file, replace=replace, encoding=encoding, progress=show)
    except InvalidFileError as error:
        for problem in error.problems:
            # Not interpreted: the rows may hold brackets, which are rich's markup.
            console.print(problem, style="yellow", markup=False, highlight=False, soft_wrap=True)
        raise UserError(error.summary) from None
    finally:
        directory.close()
    typer.echo(
        f"{result.added} added, {result.changed} changed, {result.unchanged} unchanged, "
        f"{result.removed} removed in {directory.database.name}"
    )


@app.command()
def sample() -> None:
    """Fill an empty directory with the sample; one that holds people is left as it is."""
    from bot.server import ensure_directory

    typer.echo(ensure_directory())


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="File to write; an existing one is replaced.")],
    format: Annotated[
        str | None,
        typer.Argument(help="csv or json; by default what the file's ending says."),
    ] = None,
) -> None:
    """Write everybody to a file that `import` takes back unchanged."""
    from actions.directory import Directory

    directory = Directory()
    try:
        count = directory.export(file, format)
    finally:
        directory.close()
    typer.echo(f"{count} people written to {file}")


@app.command()
def stats() -> None:
    """Count people, agencies and skills."""
    from rich.console import Console
    from rich.table import Table

    from actions.directory import Directory

    directory = Directory()
    try:
        found = directory.stats()
    finally:
        directory.close()
    console = Console()
    stamp = f"{found.updated_at:%Y-%m-%d %H:%M} UTC" if found.updated_at else "never"
    console.print(f"Directory   {directory.database.name}", highlight=False, soft_wrap=True)
    console.print(f"People      {found.people} ({found.available_now} available now)")
    console.print(f"Skills      {found.skills}")
    console.print(f"Updated     {stamp}", highlight=False)
    for title, counts in (("Agency", found.agencies), ("Skill", found.top_skills)):
        table = Table(title, "People")
        for name, number in counts.items():
            table.add_row(_plain(name), str(number))
        console.print(table)


@app.command()
def search(
    name: Annotated[
        list[str] | None, typer.Argument(help="Name of a person, in any spelling.")
    ] = None,
    skill: Annotated[str | None, typer.Option(help="Who has this skill?")] = None,
    agency: _Agency = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many people.")] = 10,
) -> None:
    """Look a person up by name, or people by skill, as the bot does."""
    from rich.console import Console
    from rich.table import Table

    from actions.directory import Directory
    from bot.errors import UserError

    if bool(name) == bool(skill):
        raise UserError("Give either a NAME or --skill SKILL.")
    directory = Directory()
    console = Console()
    try:
        if skill:
            experts = directory.find_experts(skill, agency=agency, limit=limit)
            table = Table("Level", "Name", "Agency", "Job", "Id")
            for expert in experts.experts:
                person = expert.collaborator
                cells = (person.full_name, person.agency, person.job_title, person.id)
                table.add_row(str(expert.level), *map(_plain, cells))
            if experts.total:
                console.print(table)
                note = f"{len(experts.experts)} of {experts.total} people with {experts.skill}"
                if experts.total_elsewhere:
                    note += f", {experts.total_elsewhere} more in other agencies"
                typer.echo(note)
                return
            typer.echo(f"Nobody here has {experts.skill or skill}.")
            if experts.total_elsewhere:
                typer.echo(f"In other agencies: {experts.total_elsewhere}")
            if experts.related:
                typer.echo(f"Related: {', '.join(experts.related)}")
            return
        found = directory.find_people(" ".join(name or ()), agency=agency, limit=limit)
    finally:
        directory.close()
    if not found.matches:
        typer.echo("Nobody has that name." + (" Near:" if found.near else ""))
    table = Table("Name", "Agency", "Job", "E-mail", "Phone", "Id")
    for person in found.matches or found.near:
        table.add_row(
            *map(
                _plain,
                (
                    person.full_name,
                    person.agency,
                    person.job_title,
                    person.email or "",
                    person.phone or "",
                    person.id,
                ),
            )
        )
    if table.row_count:
        console.print(table)
    if found.total > len(found.matches):
        typer.echo(f"{len(found.matches)} of {found.total} people")


@app.command()
def forget(
    person_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the person.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    endpoints: Endpoints = DEFAULT_ENDPOINTS,
) -> None:
    """Remove a person from the directory and from all stored conversations, for good."""
    from sqlalchemy.exc import SQLAlchemyError

    from actions.directory import Directory
    from bot.channels.conversations import NoConversationsError
    from bot.errors import UserError

    conversations = None
    with suppress(NoConversationsError):
        conversations = stored(endpoints)
    directory = Directory()
    try:
        person = directory.get(person_id)
        if person is None:
            typer.echo(f"{person_id} is not in the directory; looking for the id alone.")
        if not yes:
            who = f"{person.full_name} ({person.id})" if person else person_id
            typer.confirm(f"Forget {who} in {directory.database.name}?", abort=True)
        # First, so that nobody is shown them meanwhile.
        removed = directory.forget(person_id)
    finally:
        directory.close()
    turns = 0
    try:
        # Again while something is found: an answer may have been under way.
        while conversations and (found := conversations.forget(_traces_of(person_id, person))):
            turns += found
            time.sleep(1)
    except SQLAlchemyError as error:
        raise UserError(
            f"The tracker store fails, some conversations may still name them: {error}. "
            "Run the command again."
        ) from None
    typer.echo(
        f"{person_id}: {'removed from' if removed else 'was not in'} the directory; "
        f"{turns} turns deleted from conversations"
    )


def _traces_of(person_id: str, person: Collaborator | None) -> Person:
    """Return what somebody is known by in texts."""
    from bot.channels.conversations import Person

    if person is None:
        return Person(person_id, ())
    names = (person.full_name, f"{person.last_name} {person.first_name}")
    return Person(person_id, tuple(filter(None, (*names, person.email, person.phone))))


def _plain(text: str) -> str:
    """``text`` with rich's markup made harmless."""
    from rich.markup import escape

    return escape(text)
