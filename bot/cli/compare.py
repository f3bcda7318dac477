"""``bot compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bot.comparison.cells import Record
    from bot.comparison.runner import Progress, Step

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
    real_aws: Annotated[
        bool,
        typer.Option("--real-aws", help="Ask Amazon, with AWS's credentials; it charges for it."),
    ] = False,
) -> None:
    """Measure intent classifiers on the same material and write one report.

    What is measured is kept: the same command goes on after an interruption, and measures again
    what has failed or changed. Exit status 1 if a measurement failed.
    """
    import dataclasses

    from rich.console import Console

    from bot.comparison import cost_report, decision, prices, report, runner, settings, summary
    from bot.comparison import results as figures
    from bot.comparison.profile import Profile
    from bot.comparison.splits import load
    from bot.errors import UserError
    from bot.rasa_cli import configure_process
    from bot.server import stopping_on_signals

    configure_process()
    unknown = sorted(set(measure or ()) - set(_KINDS))
    if unknown:
        raise UserError(f"--measure {unknown[0]}: it takes {', '.join(_KINDS)}.")
    console = Console(highlight=False, soft_wrap=True)
    chosen = settings.read(config)
    if dataset:
        # The configured held-out set belongs to the configured examples.
        chosen = dataclasses.replace(chosen, train=dataset, held_out=None)
    if held_out:
        chosen = dataclasses.replace(chosen, held_out=held_out)
    # Before the long work: what is wrong with these must not come out after it.
    weights = decision.weights_of(chosen.weights, f"{config}, weights")
    usage = Profile().changed(chosen.profile, f"{config}, profile")
    costs = cost_report.work_out(prices.read(), usage)
    data = load(chosen.train, chosen.held_out, chosen.held_out_share, chosen.folds)
    options = runner.Options(
        quick,
        real_aws,
        only or (),
        [_KINDS[name] for name in measure] if measure else tuple(_KINDS.values()),
    )
    comparison = runner.Comparison(chosen, data, out, options)
    console.print(
        f"{len(data.train)} examples of {len(data.intents)} intents, {len(data.held_out)} held out."
    )
    for note in data.notes:
        console.print(f"Note: {note}", style="yellow", markup=False)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with stopping_on_signals():
            comparison.run(_Lines(console))
    except KeyboardInterrupt:
        console.print("\nInterrupted. The same command goes on where this ended.")
        raise typer.Exit(130) from None
    results = summary.results(comparison)
    files = [figures.write(results, out)]
    made = report.build(results, costs, weights)
    files += report.write(made, out)
    for grid in made.summary():
        console.print(grid.to_rich())
        for note in grid.notes:
            console.print(note, markup=False)
    for path in files[:4]:
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


class _Lines:
    """Tells how a run goes: one line a step, and on a terminal what is going on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")

    def begins(self, step: Step) -> None:
        self._status.update(f"{step.spec.name}, {step.cells[0].title} …")
        self._status.start()

    def ends(self, step: Step, records: Sequence[Record], progress: Progress) -> None:
        self._status.stop()
        for cell, record in zip(step.cells, records, strict=True):
            self._console.print(
                f"[{progress.done}/{progress.total}] {cell.candidate}, {cell.title}: "
                f"{_outcome(record)}",
                markup=False,
            )
        if progress.remaining:
            seconds = sum(record.seconds for record in records)
            left = f"{_duration(seconds)}; about {_duration(progress.remaining)} left"
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
