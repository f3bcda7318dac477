"""A table that can be shown in a terminal, in Markdown and in HTML, so that it is built once."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Grid:
    """Rows of text under a header.

    Attributes:
        title: What the table shows.
        header: One name a column.
        rows: As many cells as the header has; the first one names the row.
        notes: Remarks below the table.
        text_columns: Positions of the columns that are read, not compared; column 0 always is.
        emphasised: Positions of the rows that matter most.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    text_columns: frozenset[int] = frozenset()
    emphasised: frozenset[int] = frozenset()

    def is_text(self, column: int) -> bool:
        """Whether the column is set to the left."""
        return column == 0 or column in self.text_columns

    def to_rich(self) -> Table:
        """Return the table for the terminal, without its notes."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        table = Table(
            title=escape(self.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
        )
        for index, name in enumerate(self.header):
            side: Literal["left", "right"] = "left" if self.is_text(index) else "right"
            # A number is never cut, and no word where there is room; headings may take more lines.
            cells = [row[index] for row in self.rows]
            whole = cells if side == "right" else [word for cell in cells for word in cell.split()]
            width = max(map(len, [*whole, *name.split()]), default=0)
            table.add_column(
                escape(name), justify=side, overflow="fold", min_width=min(width, _WIDEST)
            )
        for index, row in enumerate(self.rows):
            style = "bold" if index in self.emphasised else None
            table.add_row(*map(escape, row), style=style)
        return table

    def to_markdown(self) -> str:
        """Return title, table and notes."""
        rule = ["---" if self.is_text(index) else "---:" for index in range(len(self.header))]
        lines = [_markdown_row(self.header), f"|{'|'.join(rule)}|"]
        for index, row in enumerate(self.rows):
            bold = index in self.emphasised
            lines.append(_markdown_row([f"**{cell}**" if bold and cell else cell for cell in row]))
        parts = [f"**{self.title}**", "\n".join(lines)]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(parts) + "\n"

    def to_html(self, identifier: str = "") -> str:
        """Return a table with caption, scopes for screen readers, and the notes below it.

        Args:
            identifier: The table's ``id``, where a script has to find it.
        """
        named = f' id="{identifier}"' if identifier else ""
        head = "".join(
            f'<th scope="col"{_side(self.is_text(index))}>{html.escape(name)}</th>'
            for index, name in enumerate(self.header)
        )
        body = "\n".join(
            f"<tr{_winner(index in self.emphasised)}>{self._html_cells(row)}</tr>"
            for index, row in enumerate(self.rows)
        )
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        # The frame scrolls on a narrow screen; the tab index lets a keyboard scroll it.
        return (
            f'<div class="table" role="region" tabindex="0" aria-label="{html.escape(self.title)}">'
            f"<table{named}>\n<caption>{html.escape(self.title)}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
            + (f'\n<ul class="notes">{notes}</ul>' if notes else "")
        )

    def _html_cells(self, row: Sequence[str]) -> str:
        first, *others = (html.escape(cell) for cell in row)
        cells = "".join(
            f"<td{_side(self.is_text(index))}>{cell}</td>" for index, cell in enumerate(others, 1)
        )
        return f'<th scope="row">{first}</th>{cells}'


@dataclass
class Footnotes:
    """Remarks on single rows, each written once below the table.

    Attributes:
        lines: The remarks so far, with their marks.
    """

    lines: list[str] = field(default_factory=list)
    _marks: dict[str, str] = field(default_factory=dict)

    def mark(self, name: str, remarks: Iterable[str]) -> str:
        """Return ``name`` followed by the marks of its remarks: ``"Comprehend ¹ ²"``."""
        return " ".join([name, *map(self._mark, remarks)])

    def _mark(self, remark: str) -> str:
        if remark not in self._marks:
            number = str(len(self._marks) + 1)
            self._marks[remark] = number.translate(_SUPERSCRIPT)
            self.lines.append(f"{self._marks[remark]} {remark}")
        return self._marks[remark]


# Characters that a column asks for at most in a terminal.
_WIDEST = 22
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _side(left: bool) -> str:
    return "" if left else ' class="number"'


def _winner(emphasised: bool) -> str:
    return ' class="winner"' if emphasised else ""
