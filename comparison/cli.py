"""``bot compare`` and ``bot cost``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from comparison.measurements import Cell, Record
    from comparison.runner import Comparison, Progress

# The figures that the repository keeps.
PUBLISHED = Path("docs/comparison/results.json")
# What --measure takes, and the kinds of cells that it stands for.
_KINDS = {
    "held-out": "held-out",
    "speed": "speed",
    "splits": "cross-validation",
    "learning": "learning curve",
}


def compare(
    config: Annotated[Path, typer.Option(help="Material, splits, candidates, weights.")] = Path(
        "compare.yml"
    ),
    only: Annotated[
        list[str] | None,
        typer.Option(help="Measure this candidate alone, by its key; repeatable."),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help=f"Measure this alone, of {', '.join(_KINDS)}; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything; what is there is kept.")] = Path(
        "results/compare"
    ),
    dataset: Annotated[
        Path | None,
        typer.Option(help="Other examples: JSON, CSV (text, intent) or Rasa YAML, any intents."),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(help="Examples never trained on; without it, a part of --dataset."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Shorter pauses and loads in the speed.")
    ] = False,
    seeds: Annotated[
        str | None, typer.Option(help="Instead of the configured ones: 0, or 0,1,2.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Instead of the configured number.")] = None,
    jobs: Annotated[
        int,
        typer.Option(min=1, help="Trainings at once, in splits and learning curves."),
    ] = 1,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of the criteria (YAML), instead of the configured.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Measure nothing: report what is measured so far.")
    ] = False,
    outdated: Annotated[
        bool,
        typer.Option(
            "--outdated", help="With --report: also what was measured with earlier code, marked."
        ),
    ] = False,
    publish: Annotated[
        Path | None,
        typer.Option(help="Also copy the Markdown report with its pictures there."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="For all that fine-tune one: a name on the model hub, or a folder."),
    ] = None,
    real_aws: Annotated[
        bool,
        typer.Option(
            "--real-aws", help="Ask Amazon, with AWS's credentials; tells the price first."
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask whether that may be paid.")
    ] = False,
) -> None:
    """Measure intent classifiers on the same material and write one report.

    What is measured is kept: the same command goes on after an interruption, and measures again
    what has failed or changed. With --report, it only writes the report again, with other weights
    or of a part of the measurements; where nothing is measured, of the published ones. Exit
    status 1 if a measurement failed.
    """
    from rich.console import Console

    from bot.processes import stopping_on_signals
    from bot.runtime.rasa_cli import configure_process
    from common import prices
    from common.errors import UserError
    from comparison import (
        decision,
        one_page,
        report_page,
        report_tables,
        runner,
        scoring,
        settings,
        summary,
    )
    from comparison import report as reports
    from comparison import results as figures
    from comparison.cost import Costs
    from comparison.splits import load
    from comparison.usage import Profile

    configure_process()
    unknown = sorted(set(measure or ()) - set(_KINDS))
    if unknown:
        raise UserError(f"--measure {unknown[0]}: it takes {', '.join(_KINDS)}.")
    console = Console(highlight=False, soft_wrap=True)
    if outdated and not report:
        raise UserError("--outdated goes with --report: a measurement is always of today's code.")
    chosen = settings.read(config).changed(
        train=dataset, held_out=held_out, seeds=_numbers(seeds), folds=folds, encoder=encoder
    )
    # Before the long work: what is wrong with these must not come out after it.
    importance = (
        decision.read_weights(weights)
        if weights
        else decision.weights_of(chosen.weights, f"{config}, weights")
    )
    usage = Profile().changed(chosen.profile, f"{config}, profile")
    costs = Costs.of(prices.read(), usage)
    scoring.check(chosen.candidates, costs)
    data = load(chosen.material, chosen.splits.folds)
    options = runner.Options(
        quick=quick,
        real_aws=real_aws,
        only=only or (),
        kinds=[_KINDS[name] for name in measure or _KINDS],
        jobs=jobs,
        outdated=outdated,
    )
    comparison = runner.Comparison(chosen, data, out, options)
    console.print(
        f"{len(data.train)} examples of {len(data.intents)} intents, {len(data.held_out)} held out."
    )
    for note in data.notes:
        console.print(f"Note: {note}", style="yellow", markup=False)
    published = None
    if report and not _has_some(comparison, console):
        if outdated or not PUBLISHED.exists():
            raise UserError(f"Nothing is measured in {out} for this configuration.")
        console.print(f"Nothing is measured in {out}: this is the report of {PUBLISHED}.")
        published = figures.read(PUBLISHED)
    if real_aws and not report:
        console.print(costs.real_run())
        if not yes:
            typer.confirm("Measure Amazon's services?", abort=True)
    out.mkdir(parents=True, exist_ok=True)
    if not report:
        try:
            with stopping_on_signals():
                comparison.run(_Lines(console))
        except KeyboardInterrupt:
            console.print(
                "\nInterrupted. The same command goes on where this ended; with --report, it only "
                "writes the report of what is there."
            )
            raise typer.Exit(130) from None
    results = published or summary.results(comparison)
    made = reports.build(results, costs, importance)
    files = [figures.write(results, out), *report_page.write(made, out)]
    if publish:
        files.append(report_page.publish(out, publish))
    console.print(report_tables.matrix(made).to_rich())
    for paragraph in one_page.paragraphs(made, "en"):
        console.print(paragraph.replace("**", "").replace("`", ""), markup=False)
    for path in files:
        console.print(str(path))
    failures = [
        f"{one.name}, {failure.cell}: {failure.error}"
        for one in results.candidates
        for failure in one.failures
    ]
    if failures:
        console.print(f"\n[bold red]{len(failures)} measurements failed:[/]")
        for line in failures:
            console.print(f"  {line}", markup=False)
        console.print(f"Where: {out / figures.FILE}; the same command tries them again.")
        raise typer.Exit(1)


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
    from comparison.cost import Costs
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
    result = Costs.of(price_file.read(prices or price_file.DEFAULT, region), usage)
    tables = result.tables()
    as_text = "\n".join(table.to_markdown() for table in tables)
    if as_json or out:
        figures = json.dumps(result.to_json(), ensure_ascii=False, indent=2)
    if as_json:
        typer.echo(figures)
    elif markdown:
        typer.echo(as_text)
    else:
        console = Console()
        for table in tables[:-1]:
            console.print(table.to_rich())
            for note in table.notes:
                console.print(note, markup=False, highlight=False)
            console.print()
        console.print(f"{result.price_sentence()} --markdown lists them.", highlight=False)
    if out:
        from comparison import charts

        drawn = charts.draw_costs(result, out)
        page = f"# Cost\n\n![{drawn.alternative}]({drawn.name}.svg)\n\n{as_text}"
        (out / "cost.json").write_text(f"{figures}\n", encoding="utf-8")
        (out / "cost.md").write_text(page, encoding="utf-8")
        for name in ("cost.json", "cost.md", f"{drawn.name}.svg", f"{drawn.name}.png"):
            typer.echo(str(out / name), err=True)


def _numbers(text: str | None) -> list[int] | None:
    """Return the numbers of ``"0,1,2"``."""
    from common.errors import UserError

    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: it takes whole numbers, such as 0,1,2.") from None


def _has_some(comparison: Comparison, console: Console) -> bool:
    """Whether there is something to report; say what is left out, being of other things."""
    left_out = Counter(
        cell.candidate for cell in comparison.outdated if cell not in comparison.records
    )
    for key, count in left_out.items():
        console.print(
            f"{key}: {count} measurements are left out, since they are of other code, settings, "
            "libraries or examples; --outdated takes those that fit.",
            style="yellow",
        )
    return bool(comparison.records)


class _Lines:
    """Tells how a run goes: one line a step, and on a terminal what is going on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")

    def begins(self, cell: Cell) -> None:
        self._status.update(f"{cell.candidate}, {cell.title} …")
        self._status.start()

    def ends(self, cell: Cell, record: Record, progress: Progress) -> None:
        self._status.stop()
        self._console.print(
            f"[{progress.done}/{progress.total}] {cell.candidate}, {cell.title}: "
            f"{_outcome(record)}",
            markup=False,
        )
        if progress.remaining:
            left = f"{_duration(record.seconds)}; about {_duration(progress.remaining)} left"
            self._console.print(f"      ({left})", style="green")


def _outcome(record: Record) -> str:
    if record.failure:
        return f"FAILED: {record.failure.error}"
    if record.speed:
        return f"median answer in {record.speed.spaced.p50 * 1e3:.1f} ms"
    assert record.run is not None
    pairs = list(zip(record.run.expected, record.run.answered, strict=True))
    return f"{sum(one == other for one, other in pairs) / len(pairs):.1%} right"


def _duration(seconds: float) -> str:
    """Return a duration in words: ``"2 h 05 min"``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
