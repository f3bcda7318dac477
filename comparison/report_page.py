"""The report of a comparison as files: HTML, Markdown, JSON and pictures.

The same figures give the same bytes: nothing here asks for the time, and samples are seeded.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.charts import Picture
from comparison import charts, one_page
from comparison import report_tables as tables
from comparison.charts import PICTURES
from comparison.report import Report
from comparison.results import CROSS_VALIDATION, FILE, HELD_OUT
from comparison.scoring import CRITERIA, Criterion
from comparison.tables import Table

TITLE = "Intent classifiers compared"
_PROTOCOLS = {
    CROSS_VALIDATION: "Cross-validation: repeated stratified splits",
    HELD_OUT: "Held-out set: trained on all examples",
}


@dataclass(frozen=True)
class Sliders:
    """Weights that a reader of the page can move, to weigh the decision matrix anew."""

    criteria: Sequence[Criterion]  # in the order of the matrix's columns
    weights: Mapping[str, float]  # by criterion
    marks: Mapping[str, Mapping[str, float]]  # by candidate of the matrix, by criterion


# A text is a paragraph; `**…**` in it is bold, a part between backquotes is code.
Block = str | Table | Picture | Sliders


@dataclass(frozen=True)
class Section:
    """A part of the report under a heading of its own."""

    key: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    sections: Sequence[Section]

    def to_markdown(self) -> str:
        """Return the report as Markdown; its pictures are expected in ``pictures/``."""
        parts = [f"# {self.title}", self.subtitle]
        for section in self.sections:
            parts.append(f"## {section.title}")
            parts.extend(map(_markdown, section.blocks))
        return "\n\n".join(part.strip() for part in parts if part) + "\n"

    def to_html(self) -> str:
        """Return the report as one page that needs nothing else."""
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup, escape

        def emphasis(text: str) -> Markup:
            bold = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
            return Markup(re.sub("`(.+?)`", r"<code>\1</code>", bold))

        folder = Path(__file__).with_name("templates")
        environment = Environment(
            autoescape=True, loader=FileSystemLoader(folder), undefined=StrictUndefined,
            keep_trailing_newline=True,
        )  # fmt: skip
        environment.filters |= {"emphasis": emphasis, "kind": lambda one: type(one).__name__}
        return environment.get_template("report.html.j2").render(page=self)


def _markdown(block: Block) -> str:
    if isinstance(block, Picture):
        return f"![{block.alternative}]({PICTURES}/{block.name}.svg)"
    if isinstance(block, Table):
        return block.to_markdown()
    return block if isinstance(block, str) else ""


def write(report: Report, folder: Path) -> list[Path]:
    """Write ``report.html``, ``report.md``, ``report.json`` and ``pictures/``; return the files."""
    # Those of an earlier report may be of candidates that are no more.
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    drawn = charts.draw(report, folder / PICTURES)
    page = compose(report, drawn)
    contents = {
        "report.html": page.to_html(),
        "report.md": page.to_markdown(),
        "report.json": json.dumps(report.to_json(), ensure_ascii=False, indent=2) + "\n",
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents]


def publish(folder: Path, target: Path) -> Path:
    """Copy what a repository keeps of a report; what ``target`` had of an earlier one goes.

    Args:
        folder: Where ``bot compare`` has written it.
        target: Gets ``report.md``, its pictures as SVG, ``report.html`` and the raw figures.

    Returns:
        The report in ``target``.
    """
    shutil.rmtree(target / PICTURES, ignore_errors=True)
    (target / PICTURES).mkdir(parents=True)
    for path in [*(folder / PICTURES).glob("*.svg"), folder / "report.html", folder / FILE]:
        shutil.copy(path, target / path.relative_to(folder))
    return Path(shutil.copy(folder / "report.md", target))


# --- the page ---------------------------------------------------------------------------------


def compose(report: Report, drawn: dict[str, Picture]) -> Page:
    """Put the report together, with the pictures that were drawn."""
    machine, results = report.results.machine, report.results
    subtitle = (
        f"Measured on {results.date} on {machine.cores} cores of {machine.processor} with "
        f"{machine.memory_bytes / 2**30:.0f} GiB, {machine.system}, Python {machine.python}."
        + (" A quick run: shortened pauses and loads." if results.protocol.quick else "")
    )

    def pictures(*names: str) -> list[Picture]:
        return [drawn[name] for name in names if name in drawn]

    first, *others = (
        Section(key, title, one_page.paragraphs(report, key))
        for key, title in one_page.TITLES.items()
    )
    failed = tables.failures(results)
    spaced = "Four series of ten questions, one second apart"
    sections = [
        first,
        *([Section("failures", "What failed", [failed])] if failed.rows else []),
        *others,
        Section("result", "The result", [
            tables.summary(report),
            *_with_rows(tables.stand_ins(report)),
            *pictures("latency-accuracy"),
            tables.matrix(report),
            Sliders(CRITERIA, report.decision.weights,
                    {one.candidate: one.marks for one in report.decision.ranking}),
            tables.stability(report),
            tables.original(),
        ]),
        Section("performance", "Model performance", [
            *_with_rows(*(tables.scores(report, *one) for one in _PROTOCOLS.items())),
            tables.significance(report),
            *pictures("learning-curves", *map(charts.confusion_name, report.chosen)),
            *(tables.intents(one, scores, report.protocol)
              for one in report.chosen if (scores := report.scores(one))),
        ]),
        Section("speed", "Inference speed", [
            tables.latency(report, spaced, "spaced"),
            tables.latency(report, "Ten questions back to back", "back_to_back"),
            tables.load(report),
            tables.footprint(report),
        ]),
        Section("cost", "Cost", [
            tables.bills(report),
            report.costs.monthly(),
            *pictures("break-even"),
            f"{report.costs.price_sentence()} `bot cost --markdown` lists them.",
        ]),
        Section("ease", "Ease of creation and industrialisation", [tables.facts(report)]),
        Section("rules", "How marks are given", [
            "A criterion's mark is the mean of the marks of its measures, by their shares. "
            f"Performance is marked by the {report.protocol} scores, which all candidates have.",
            tables.rules(),
        ]),
        Section("method", "How it was measured", _method(report)),
    ]  # fmt: skip
    return Page(TITLE, subtitle, sections)


def _with_rows(*found: Table) -> list[Table]:
    return [one for one in found if one.rows]


def _method(report: Report) -> list[Block]:
    results, protocol = report.results, report.results.protocol
    materials = [
        (name, one.path, str(one.examples), str(len(one.intents)), one.digest[:12])
        for name, one in (("Training", results.train), (HELD_OUT.capitalize(), results.held_out))
    ]
    text = (
        f"{protocol.folds} folds for each of the seeds {', '.join(map(str, protocol.seeds))}. "
        f"Learning curve: {', '.join(map(str, protocol.learning_sizes))} examples a class, and "
        f"all. Off-topic: {protocol.off_topic or 'none in this material'}. AWS: "
        f"{'Amazon itself' if protocol.real_aws else 'a local stand-in, where it was needed'}."
    )
    header = ("Set", "File", "Examples", "Intents", "SHA-256")
    versions = sorted(results.machine.packages.items())
    return [
        text,
        *protocol.notes,
        Table("Material", header, materials, (), {1, 4}),
        tables.candidates(results),
        Table("Versions", ("Package", "Version"), versions, (), {1}),
    ]
