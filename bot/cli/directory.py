"""``bot directory …``: import, export and look into the collaborator directory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.conversations import DEFAULT_ENDPOINTS, Endpoints, stored

if TYPE_CHECKING:
    from actions.directory import Collaborator, Directory, ImportResult
    from actions.directory.importer import Confirm
    from bot.channels.conversations import Person
    from common.spreadsheets import Progress, Say

app = typer.Typer(
    help="Import, export and look into the collaborator directory (DIRECTORY_URL).",
    no_args_is_help=True,
)

# Exit status of an import that would remove more people than it may.
TOO_MANY_REMOVALS = 3
# So many warnings are shown.
_SHOWN = 20

_Agency = Annotated[str | None, typer.Option(help="Only people of this agency.")]
_Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HEADER=COLUMN",
        help="What a column is that is not known by its name, once for each; docs/directory.md.",
    ),
]
_MaxRemovals = Annotated[
    float,
    typer.Option(min=0, max=100, help="Stop where more than this percentage would be removed."),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, no more.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask on a terminal.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, .xlsx or JSON; docs/directory.md says how.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the people whom the file does not name.")
    ] = False,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of a text file, where it is not found out.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Name or number of a workbook's sheet.")] = None,
    columns: _Columns = None,
    max_removals: _MaxRemovals = 10,
    dry_run: _DryRun = False,
    yes: _Yes = False,
) -> None:
    """Add and change people, told apart by id: the whole file or, with one bad row, nothing."""
    from actions.directory.files import chosen_columns

    chosen = chosen_columns(columns or ())
    _change(
        f"Importing {file.name}",
        lambda directory, bar, say, confirm: directory.import_(
            file,
            replace=replace,
            encoding=encoding,
            sheet=sheet,
            columns=chosen,
            progress=bar,
            say=say,
            confirm=confirm,
        ),
        max_removals,
        dry_run,
        yes,
    )


@app.command()
def sync(
    source: Annotated[
        str,
        typer.Argument(
            envvar="DIRECTORY_SOURCE",
            help="https://… of a file, or SQLAlchemy's address of a database; may hold a password.",
        ),
    ],
    query: Annotated[
        str | None, typer.Option(envvar="DIRECTORY_QUERY", help="What to select in a database.")
    ] = None,
    columns: _Columns = None,
    max_removals: _MaxRemovals = 10,
    dry_run: _DryRun = False,
    yes: _Yes = False,
) -> None:
    """Make the directory what another one is, as `import --replace` does with its file.

    $DIRECTORY_SOURCE_TOKEN is sent to an address of HTTP as bearer token.
    """
    from actions.directory.files import chosen_columns

    chosen = chosen_columns(columns or ())
    token = os.environ.get("DIRECTORY_SOURCE_TOKEN")
    _change(
        "Reading the source",
        lambda directory, bar, say, confirm: directory.sync(
            source, query, token=token, columns=chosen, say=say, confirm=confirm
        ),
        max_removals,
        dry_run,
        yes,
    )


@app.command()
def synonyms(
    file: Annotated[Path, typer.Argument(help="CSV or .xlsx with the columns synonym,skill.")],
    columns: _Columns = None,
) -> None:
    """Take the company's own names of skills, instead of those taken before; live at once."""
    _take("synonyms", file, columns, lambda directory, *given: directory.take_synonyms(*given))


@app.command()
def families(
    file: Annotated[
        Path, typer.Argument(help="CSV or .xlsx with the columns family,skill and perhaps title.")
    ],
    columns: _Columns = None,
) -> None:
    """Take the company's own families of skills, instead of those taken before; live at once."""
    _take("families", file, columns, lambda directory, *given: directory.take_families(*given))


def _take(
    what: str,
    file: Path,
    columns: list[str] | None,
    take: Callable[[Directory, Path, dict[str, str]], int],
) -> None:
    """Have the directory take a file of the company's own words, and say how many."""
    from actions.directory import Directory, InvalidFileError
    from common.errors import UserError

    chosen = dict(item.rpartition("=")[::2] for item in columns or ())
    directory = Directory()
    try:
        count = take(directory, file, chosen)
    except InvalidFileError as error:
        for problem in error.problems[:_SHOWN]:
            typer.echo(problem, err=True)
        raise UserError(error.summary) from None
    finally:
        directory.close()
    typer.echo(f"{count} {what} taken in {directory.database.name}")


@app.command()
def check() -> None:
    """List the skills that users cannot reach, and the line for `synonyms` that helps."""
    from actions.directory import Directory

    directory = Directory()
    try:
        found = directory.unreached()
    finally:
        directory.close()
    for item in found:
        typer.echo(f"{item.skill} {item.reason}; add: {item.line}")
    if not found:
        typer.echo("Nothing to do: every skill is found by the names that people would use.")


@app.command()
def undo(dry_run: _DryRun = False, yes: _Yes = False) -> None:
    """Go back to the directory before the last import or sync; again, and that is undone."""
    _change(
        "Going back",
        lambda directory, bar, say, confirm: directory.undo(confirm=confirm),
        100,
        dry_run,
        yes,
    )


def _change(
    title: str,
    change: Callable[[Directory, Progress, Say, Confirm], ImportResult],
    max_removals: float,
    dry_run: bool,
    yes: bool,
) -> None:
    """Change the directory, show how, and ask on a terminal before it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from actions.directory import Directory, InvalidFileError
    from common.errors import UserError

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    directory = Directory()
    bar = Bar(*columns, console=console)
    task = bar.add_task(title, total=None)
    done = False

    def say(line: str, style: str | None = None) -> None:
        # Not interpreted: the rows may hold brackets, which are rich's markup.
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def show(read: int, total: int) -> None:
        text = "Finishing the search index" if read >= total else title
        bar.update(task, completed=read, total=total, description=text)

    def confirm(result: ImportResult) -> bool:
        nonlocal done
        bar.stop()
        asks = sys.stdin.isatty() and not dry_run
        for line in result.people if dry_run or (asks and not yes) else ():
            say(line)
        for line in result.warnings[:_SHOWN]:
            say(line, "yellow")
        if len(result.warnings) > _SHOWN:
            say(f"… and {len(result.warnings) - _SHOWN} more", "yellow")
        if too_many := 100 * result.removed > max_removals * result.before:
            say(
                f"{result.removed} of {result.before} people would be removed, more than "
                f"{max_removals:g} %. Is the file whole? If so: --max-removals 100.",
                "bold red",
            )
        if dry_run:
            return False
        if too_many and not asks:
            raise _TooManyRemovalsError
        if asks and (too_many or not yes) and result.added + result.changed + result.removed:
            typer.confirm(f"{_counts(result)}: change {directory.database.name}?", abort=True)
        done = True
        return True

    try:
        with bar:
            result = change(directory, show, say, confirm)
    except InvalidFileError as error:
        for problem in error.problems:
            say(problem, "yellow")
        raise UserError(error.summary) from None
    except _TooManyRemovalsError:
        say("Nothing was changed.", "bold red")
        raise typer.Exit(TOO_MANY_REMOVALS) from None
    finally:
        directory.close()
    counts = f"{_counts(result)} in {directory.database.name}"
    typer.echo(counts if done else f"Nothing was changed. It would be: {counts}")


class _TooManyRemovalsError(Exception):
    pass


def _counts(result: ImportResult) -> str:
    return (
        f"{result.added} added, {result.changed} changed, {result.unchanged} unchanged, "
        f"{result.removed} removed"
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
    from common.errors import UserError

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
                table.add_row(str(expert.level or ""), *map(_plain, cells))
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
    from common.errors import UserError

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
