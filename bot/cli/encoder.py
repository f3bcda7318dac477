"""``bot encoder …``: the pretrained encoders that the intent classifier starts from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from components.offline_encoder import Progress

app = typer.Typer(
    help="Build, fetch and verify pretrained encoders. They are in $BOT_ENCODERS, else in "
    "models/encoders of a checkout, else in ~/.cache/skills-bot/encoders.",
    no_args_is_help=True,
)


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<40}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda step, done: bar.update(task, description=step, completed=done, refresh=True)


@app.command()
def build(
    out: Annotated[
        Path | None, typer.Option(help="Folder to write. Default: e5-small-fr, among the others.")
    ] = None,
) -> None:
    """Build the offline encoder e5-small-fr from installed packages (no network, under a minute).

    Always gives the same bytes. An intact one is left as it is; a damaged one is replaced.
    """
    from components import offline_encoder

    folder = out or offline_encoder.ENCODERS_FOLDER / offline_encoder.OFFLINE_ENCODER
    start = time.monotonic()
    with _progress_bar() as progress:
        built = offline_encoder.build(folder, progress)
    if built:
        typer.echo(f"Built {folder} in {time.monotonic() - start:.0f} s.")
    else:
        typer.echo(f"{folder} is already built and intact.")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Model on the hub, such as almanach/camembert-base.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write. Default: NAME, among the others.")
    ] = None,
) -> None:
    """Bring an encoder from the model hub, for use without network later."""
    from components import offline_encoder

    folder = out or offline_encoder.ENCODERS_FOLDER / name
    with _progress_bar() as progress:
        fetched = offline_encoder.fetch(name, folder, revision, progress)
    commit = offline_encoder.read_manifest(folder)["revision"]
    verb = "Fetched" if fetched else "Already there and intact:"
    typer.echo(f"{verb} {name} at revision {commit} in {folder}.")
    typer.echo(f"Use it with `encoder: {name if out is None else folder}` in config.yml.")


@app.command()
def verify(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Default: every encoder there is.")
    ] = None,
) -> None:
    """Check the files of encoders against the checksums in their manifests."""
    from common.errors import COMMAND, UserError
    from components import offline_encoder

    manifests = offline_encoder.ENCODERS_FOLDER.rglob(offline_encoder.MANIFEST)
    found = folders or sorted(path.parent for path in manifests)
    if not found:
        raise UserError(
            f"There is no encoder in {offline_encoder.ENCODERS_FOLDER}. "
            f"Make one with `{COMMAND} encoder build`."
        )
    for folder in found:
        manifest = offline_encoder.verify(folder)
        typer.echo(f"{folder}: intact ({manifest['name']}, licence {manifest['licence']}).")
