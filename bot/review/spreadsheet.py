"""Questions as a spreadsheet, to be labelled elsewhere: written as CSV, read as CSV or .xlsx."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from bot.dataset import annotate, annotated
from bot.review.questions import Question
from bot.review.review import RefusedError, Review
from common.errors import UserError
from common.spreadsheets import clean, guarded, rows

DROP = "drop"
COLUMNS = ("key", "asked", "why", "guess", "confidence", "text", "intent")


def write(questions: Sequence[Question], path: Path) -> None:
    """Write ``questions`` with an empty column ``intent``, to be filled in.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        # The byte order mark tells Excel that this is UTF-8.
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for one in questions:
                why, text = ", ".join(one.reasons), guarded(annotate(one.example("")))
                confidence = f"{one.confidence:.2f}"
                writer.writerow((one.key, one.count, why, one.guess or "", confidence, text, ""))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def read(path: Path, review: Review) -> tuple[int, int, int]:
    """Take the decisions in a filled sheet: an intent, ``drop``, or nothing for not yet.

    Returns how many are new examples, in the dataset already, and dropped.

    Raises:
        UserError: something in it is wrong, every line that is; then nothing of it is taken.
    """
    problems: list[str] = []
    taken = known = dropped = 0
    for line, row in _rows(path):
        label, text = row["intent"].strip(), row["text"].strip()
        try:
            if label.lower() == DROP:
                review.drop(row["key"])
                dropped += 1
            elif label:
                is_new = review.label(row["key"], annotated(text, label))
                taken, known = taken + is_new, known + (not is_new)
        except (RefusedError, UserError) as error:
            problems.append(f"{path}:{line}: {error}")
    if problems:
        while review.undo():
            pass
        raise UserError("\n".join([*problems, "Nothing was taken over."]))
    return taken, known, dropped


def _rows(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        lines = rows(path)
        _, header = next(lines, (1, []))
        names = [str(cell).strip().casefold() for cell in header]
        missing = {"key", "text", "intent"} - set(names)
        if missing:
            raise UserError(f"{path}: there is no column {', '.join(sorted(missing))}.")
        empty = dict.fromkeys(names, "")
        return [
            (line, empty | dict(zip(names, map(clean, map(str, cells)), strict=False)))
            for line, cells in lines
        ]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
