"""The report of a comparison as tables, pictures and pages: HTML, Markdown and JSON.

The same figures give the same bytes: nothing here asks for the time, and samples are seeded.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from bot.charts import Picture
from comparison import one_page, report_pictures
from comparison import report_tables as tables
from comparison.criteria import CRITERIA
from comparison.page import PICTURES, Block, Matrix, Page, Section, Text
from comparison.report import Report
from comparison.results import CROSS_VALIDATION, FILE, HELD_OUT
from comparison.tables import Grid

TITLE = "Intent classifiers compared"
_PROTOCOLS = {
    CROSS_VALIDATION: "Cross-validation: repeated stratified splits",
    HELD_OUT: "Held-out set: trained on all examples",
}


def write(report: Report, folder: Path) -> list[Path]:
    """Write ``report.html``, ``report.md``, ``report.json`` and ``pictures/``; return the files."""
    # Those of an earlier report may be of candidates that are no more.
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    drawn = report_pictures.draw(report, folder / PICTURES)
    page = compose(report, drawn)
    contents = {
        "report.html": page.to_html(),
        "report.md": page.to_markdown(),
        "report.json": json.dumps(report.to_json(), ensure_ascii=False, indent=2) + "\n",
    }
    paths = []
    for name, content in contents.items():
        paths.append(folder / name)
        paths[-1].write_text(content, encoding="utf-8")
    return paths + [
        folder / PICTURES / f"{picture.name}.{suffix}"
        for picture in drawn.values()
        for suffix in ("svg", "png")
    ]


def publish(folder: Path, target: Path) -> list[Path]:
    """Copy what a repository keeps of a report; what ``target`` had of an earlier one goes.

    Args:
        folder: Where ``bot compare`` has written it.
        target: Gets ``report.md``, its pictures as SVG, ``report.html`` and the raw figures.

    Returns:
        The files in ``target``.
    """
    pictures = target / PICTURES
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    names = ["report.md", "report.html", FILE]
    names += [f"{PICTURES}/{path.name}" for path in sorted((folder / PICTURES).glob("*.svg"))]
    return [Path(shutil.copy(folder / name, target / name)) for name in names]


# --- the page ---------------------------------------------------------------------------------


def compose(report: Report, drawn: dict[str, Picture]) -> Page:
    """Put the report together."""
    machine, results = report.results.machine, report.results
    subtitle = (
        f"Measured on {results.date} on {machine.cores} cores of {machine.processor} with "
        f"{machine.memory_bytes / 2**30:.0f} GiB, {machine.system}, Python {machine.python}."
        + (" A quick run: shortened pauses and loads." if results.protocol.quick else "")
    )
    sections = [
        *(
            Section(key, title, [Text(one) for one in one_page.paragraphs(report, key)])
            for key, title in one_page.TITLES.items()
        ),
        Section("result", "The result", _result_blocks(report, drawn)),
        Section("performance", "Model performance", _performance_blocks(report, drawn)),
        Section("speed", "Inference speed", _speed_blocks(report)),
        Section("cost", "Cost", _cost_blocks(report, drawn)),
        Section("ease", "Ease of creation and industrialisation", [tables.facts_grid(report)]),
        Section("rules", "How marks are given", [_rules_text(report), tables.rules_grid()]),
        Section("method", "How it was measured", _method_blocks(report)),
    ]
    if any(one.failures for one in results.candidates):
        sections.insert(1, Section("failures", "What failed", [tables.failures_grid(results)]))
    return Page(TITLE, subtitle, sections)


def _chosen(drawn: dict[str, Picture], *names: str) -> list[Picture]:
    return [drawn[name] for name in names if name in drawn]


def _result_blocks(report: Report, drawn: dict[str, Picture]) -> list[Block]:
    ranked = report.decision
    marks = {one.candidate: dict(one.marks) for one in ranked.ranking}
    titles = {one.key: (one.title, ranked.weights[one.key]) for one in CRITERIA}
    apart = tables.stand_ins_grid(report)
    return [
        tables.summary_grid(report),
        *([apart] if apart.rows else []),
        *_chosen(drawn, "latency-accuracy"),
        Matrix(tables.matrix_grid(report), marks, titles),
        tables.stability_grid(report),
        tables.original_grid(),
    ]


def _performance_blocks(report: Report, drawn: dict[str, Picture]) -> list[Block]:
    blocks: list[Block] = []
    for protocol, title in _PROTOCOLS.items():
        grid = tables.scores_grid(report, protocol, title)
        if grid.rows:
            blocks.append(grid)
    blocks.append(tables.significance_grid(report))
    blocks += _chosen(drawn, "learning-curves")
    blocks += _chosen(drawn, *map(report_pictures.confusion_name, report.chosen))
    blocks += [
        tables.intents_grid(one, scores, report.protocol)
        for one in report.chosen
        if (scores := report.scores(one))
    ]
    return blocks


def _speed_blocks(report: Report) -> list[Block]:
    return [
        tables.latency_grid(report, "Four series of ten questions, one second apart", "spaced"),
        tables.latency_grid(report, "Ten questions back to back", "back_to_back"),
        tables.load_grid(report),
        tables.footprint_grid(report),
    ]


def _cost_blocks(report: Report, drawn: dict[str, Picture]) -> list[Block]:
    return [
        tables.bills_grid(report),
        report.costs.monthly_grid(),
        *_chosen(drawn, "break-even"),
        Text(f"{report.costs.price_sentence()} `bot cost --markdown` lists them."),
    ]


def _rules_text(report: Report) -> Text:
    return Text(
        "A criterion's mark is the mean of the marks of its measures, by their shares. Performance "
        f"is marked by the {report.protocol} scores, which all candidates have."
    )


def _method_blocks(report: Report) -> list[Block]:
    results, protocol = report.results, report.results.protocol
    materials = [
        (name, one.path, str(one.examples), str(len(one.intents)), one.digest[:12])
        for name, one in (("Training", results.train), (HELD_OUT.capitalize(), results.held_out))
    ]
    machine = results.machine
    versions = [(name, version) for name, version in sorted(machine.packages.items())]
    seeds = ", ".join(map(str, protocol.seeds))
    text = (
        f"{protocol.folds} folds for each of the seeds {seeds}. Learning curve: "
        f"{', '.join(map(str, protocol.learning_sizes))} examples a class, and all. Off-topic: "
        f"{protocol.off_topic or 'none in this material'}. AWS: "
        f"{'Amazon itself' if protocol.real_aws else 'a local stand-in, where it was needed'}."
    )
    return [
        Text(text),
        *(Text(note) for note in protocol.notes),
        Grid(
            "Material",
            ("Set", "File", "Examples", "Intents", "SHA-256"),
            materials,
            (),
            frozenset({1, 4}),
        ),
        tables.candidates_grid(results),
        Grid("Versions", ("Package", "Version"), versions, (), frozenset({1})),
    ]
