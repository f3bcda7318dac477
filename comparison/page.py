"""A report as blocks, and the two ways to write them: Markdown, and one self-contained page."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.charts import Picture
from comparison.tables import Grid

PICTURES = "pictures"


@dataclass(frozen=True)
class Text:
    """A paragraph; ``**…**`` in it is bold, `` `…` `` is code."""

    text: str


@dataclass(frozen=True)
class Matrix:
    """The decision matrix, which a reader of the page can weigh anew.

    Attributes:
        grid: As computed; its columns are candidate, rank, sum, and the marks.
        marks: For each candidate of the grid, its marks by criterion.
        criteria: Title and weight of each criterion by its key, in the order of the columns.
    """

    grid: Grid
    marks: dict[str, dict[str, float]]
    criteria: dict[str, tuple[str, float]]


Block = Text | Grid | Picture | Matrix


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
            parts.extend(_markdown(block) for block in section.blocks)
        return "\n\n".join(part.strip() for part in parts) + "\n"

    def to_html(self) -> str:
        """Return the report as one page that needs nothing else."""
        links = "".join(
            f'<a href="#{section.key}">{html.escape(section.title)}</a>'
            for section in self.sections
        )
        body = "\n".join(
            f'<section id="{section.key}">\n<h2>{html.escape(section.title)}</h2>\n'
            + "\n".join(_html(block) for block in section.blocks)
            + "\n</section>"
            for section in self.sections
        )
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{html.escape(self.title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
            f"<header>\n<h1>{html.escape(self.title)}</h1>\n"
            f"<p>{html.escape(self.subtitle)}</p>\n"
            f'<nav aria-label="Sections">{links}</nav>\n</header>\n<main>\n{body}\n</main>\n'
            "</body>\n</html>\n"
        )


def _markdown(block: Block) -> str:
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Picture):
        return f"![{block.alternative}]({PICTURES}/{block.name}.svg)"
    return (block.grid if isinstance(block, Matrix) else block).to_markdown()


def _html(block: Block) -> str:
    if isinstance(block, Text):
        text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(block.text))
        text = re.sub("`(.+?)`", r"<code>\1</code>", text)
        return f"<p>{text}</p>"
    if isinstance(block, Grid):
        return block.to_html()
    if isinstance(block, Picture):
        return f'<figure><div class="picture">{block.inline()}</div></figure>'
    return _html_matrix(block)


def _html_matrix(matrix: Matrix) -> str:
    """Return the matrix with a slider for each weight."""
    sliders = "\n".join(
        f'<label>{html.escape(title)}<input type="range" min="0" max="{max(10, weight):g}" '
        f'step="any" value="{weight:g}" name="{key}"><output>{weight:.1f}</output></label>'
        for key, (title, weight) in matrix.criteria.items()
    )
    return (
        matrix.grid.to_html("matrix")
        + '\n<form id="weights" hidden>\n<fieldset><legend>Your own weights</legend>\n'
        + sliders
        + '\n<button type="reset">Back to the weights of this report</button>\n'
        + '<p role="status" id="verdict"></p></fieldset></form>\n'
        + f'<script type="application/json" id="marks">{_script_json(matrix.marks)}</script>\n'
        + f"<script>\n{_SCRIPT}</script>"
    )


def _script_json(value: Any) -> str:
    """Return JSON that no text in it can end the script element of."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


_STYLE = """\
:root { --ink: #1d2127; --soft: #5a626e; --paper: #ffffff; --line: #d9dde3; --tint: #f3f5f8;
  --accent: #0b62a4; --winner: #e3f1e8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --soft: #a2abb8; --paper: #15181d;
  --line: #363c46; --tint: #1e232a; --accent: #6cb5ee; --winner: #1c3526; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0 auto; max-width: 68rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 1rem 0 .3rem; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 .6rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }
header p, .notes, caption { color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; }
a { color: var(--accent); }
.table { overflow-x: auto; margin: 1.2rem 0 .4rem; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .3rem 0; font-weight: 600; }
th, td { padding: .4rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
thead th { background: var(--tint); }
th.number, td.number { text-align: right; white-space: nowrap; }
tbody th { position: sticky; left: 0; background: var(--paper); font-weight: 500;
  min-width: 9rem; }
tr.winner > * { background: var(--winner); font-weight: 650; }
.notes { font-size: .86rem; margin: .2rem 0 1rem; padding-left: 1.1rem; }
figure { margin: 1.2rem 0; }
.picture { overflow-x: auto; }
.picture svg { width: 100%; min-width: 30rem; max-width: 52rem; height: auto; }
fieldset { border: 1px solid var(--line); border-radius: .4rem; display: grid; gap: .5rem 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); margin: 1rem 0; padding: .8rem; }
fieldset label { display: grid; grid-template-columns: 1fr 2.5rem; align-items: center; }
fieldset label input { grid-row: 2; width: 100%; accent-color: var(--accent); }
fieldset output { grid-row: 2; text-align: right; }
fieldset p { margin: 0; align-self: center; }
button { font: inherit; padding: .35rem .8rem; }
@media print { form, nav { display: none; } }
"""

# Sums, ranks and order of the matrix from the sliders, as comparison.decision does it.
_SCRIPT = """\
(() => {
  const marks = JSON.parse(document.getElementById("marks").textContent);
  const form = document.getElementById("weights");
  const body = document.querySelector("#matrix tbody");
  const weigh = () => {
    const sliders = [...form.querySelectorAll("input")];
    const weights = sliders.map((one) => [one.name, +one.value]);
    for (const one of sliders) one.nextElementSibling.value = (+one.value).toFixed(1);
    const rows = [...body.rows].filter((row) => row.cells[0].textContent in marks);
    const total = (row) => weights.reduce(
      (sum, [key, weight]) => sum + weight * (marks[row.cells[0].textContent][key] ?? 0), 0);
    const totals = new Map(rows.map((row) => [row, total(row)]));
    rows.sort((one, other) => totals.get(other) - totals.get(one));
    for (const row of rows) {
      const above = rows.filter((one) => totals.get(one) > totals.get(row) + 1e-9).length;
      row.cells[1].textContent = above + 1;
      row.cells[2].textContent = String(Math.round(totals.get(row) * 10) / 10);
      row.classList.toggle("winner", above === 0);
      body.append(row);
    }
    const first = rows.filter((row) => row.classList.contains("winner"));
    document.getElementById("verdict").textContent =
      "First: " + first.map((row) => row.cells[0].textContent).join(", ");
  };
  form.hidden = false;
  form.addEventListener("input", weigh);
  form.addEventListener("reset", () => setTimeout(weigh));
})();
"""
