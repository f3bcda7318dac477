"""``bot cost``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def cost(
    prices: Annotated[
        Path | None, typer.Option(help="Price file. Default: common/prices.yml.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Usage profile (YAML); docs/cost.md lists the keys.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="AWS region. Default: what the price file says.")
    ] = None,
    questions_per_minute: Annotated[
        float | None, typer.Option(help="Questions a minute in the hours of use [10].")
    ] = None,
    hours_per_day: Annotated[float | None, typer.Option(help="Hours of use a day [10].")] = None,
    days_per_month: Annotated[
        float | None, typer.Option(help="Days of use a month of 30 days [22].")
    ] = None,
    mean_characters: Annotated[
        float | None, typer.Option(help="Mean length of a question [38].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as such.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for cost.json, cost.md and the curves as SVG and PNG."),
    ] = None,
) -> None:
    """What each way to serve the classifier costs in a month, and where one overtakes another.

    Options go before the profile file, the file before the defaults.
    """
    import json

    from rich.console import Console

    from common import config
    from common import prices as price_file
    from common.errors import UserError
    from comparison import cost_page, cost_report
    from comparison.usage import Profile

    if as_json and markdown:
        raise UserError("Give either --json or --markdown.")
    usage = Profile()
    if profile:
        usage = usage.changed(config.read_yaml(profile), str(profile))
    options = {
        "questions_per_minute": questions_per_minute,
        "hours_per_day": hours_per_day,
        "days_per_month": days_per_month,
        "mean_characters": mean_characters,
    }
    given = {key: value for key, value in options.items() if value is not None}
    usage = usage.changed(given, "options")
    result = cost_report.work_out(price_file.read(prices or price_file.DEFAULT, region), usage)
    if as_json:
        typer.echo(json.dumps(result.to_json(), ensure_ascii=False, indent=2))
    elif markdown:
        typer.echo("\n".join(grid.to_markdown() for grid in result.grids()))
    else:
        console = Console()
        for grid in (result.monthly_grid(), result.break_even_grid(), result.published_grid()):
            console.print(grid.to_rich())
            for note in grid.notes:
                console.print(note, markup=False, highlight=False)
            console.print()
        console.print(f"{result.price_sentence()} --markdown lists them.", highlight=False)
    if out:
        for path in cost_page.write(result, out):
            typer.echo(str(path), err=True)
