"""The files that ``bot cost --out`` writes."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from bot import charts
from comparison import pictures
from comparison.cost_report import Costs


def write(costs: Costs, folder: Path) -> list[Path]:
    """Write ``cost.json``, ``cost.md`` and the curves to ``folder``; return the files."""
    drawn = charts.save(
        "break-even",
        "Curves of the monthly cost of each way to serve against questions a day",
        functools.partial(pictures.draw_break_even, costs=costs),
        folder,
    )
    figures, page = folder / "cost.json", folder / "cost.md"
    figures.write_text(
        json.dumps(costs.to_json(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )
    page.write_text(
        f"# Cost\n\n![{drawn.alternative}]({drawn.name}.svg)\n\n"
        + "\n".join(grid.to_markdown() for grid in costs.grids()),
        encoding="utf-8",
    )
    return [figures, page, folder / f"{drawn.name}.svg", folder / f"{drawn.name}.png"]
