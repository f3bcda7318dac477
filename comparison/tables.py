"""A table that is shown in a terminal, in Markdown and in HTML, so that it is built once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich import table as rich_table

# Characters that a column asks for at most in a terminal.
_WIDEST = 22
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the template of the page shows it in HTML."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]  # the first cell names the row
    notes: Sequence[str] = ()  # below the table
    text_columns: Collection[int] = ()  # those that are read, not compared; column 0 always is
    emphasised: Collection[int] = ()  # positions of the rows that matter most
    identifier: str = ""  # by which a script finds it in a page

    def is_text(self, column: int) -> bool:
        """Whether the column is set to the left."""
        return column == 0 or column in self.text_columns

    def to_rich(self) -> rich_table.Table:
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
            table.add_row(*map(escape, row), style="bold" if index in self.emphasised else None)
        return table

    def to_markdown(self) -> str:
        """Return title, table and notes."""
        rule = ["---" if self.is_text(index) else "---:" for index in range(len(self.header))]
        lines = [_markdown_row(self.header), f"|{'|'.join(rule)}|"]
        for index, row in enumerate(self.rows):
            bold = index in self.emphasised
            lines.append(_markdown_row(f"**{cell}**" if bold and cell else cell for cell in row))
        parts = [f"**{self.title}**", "\n".join(lines)]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(parts) + "\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


@dataclass
class Footnotes:
    """Remarks on single rows, each written once below the table: ``lines``, with their marks."""

    lines: list[str] = field(default_factory=list)
    _marks: dict[str, str] = field(default_factory=dict)

    def mark(self, name: str, remarks: Iterable[str]) -> str:
        """Return ``name`` followed by the marks of its remarks: ``"Comprehend ¹ ²"``."""
        marks = []
        for remark in remarks:
            if remark not in self._marks:
                self._marks[remark] = str(len(self._marks) + 1).translate(_SUPERSCRIPT)
                self.lines.append(f"{self._marks[remark]} {remark}")
            marks.append(self._marks[remark])
        return " ".join([name, *marks])
