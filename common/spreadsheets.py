"""Tables as people save them: CSV out of any spreadsheet, .xlsx, and what both do to texts.

What is certain is repaired, anything else is refused with its cause and its cure.
"""

from __future__ import annotations

import csv
import html
import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from common.errors import UserError

# Spreadsheets take a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Invisible characters that come with copied texts; the joiners mean something in other scripts.
_INVISIBLE = re.compile(
    "[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
    "|(?<![^\x00-\u024f])[\u200c\u200d]"
)
# Without it nothing was decoded wrongly, which a look tells faster than a search for what was.
_MISREAD = re.compile("[^\x00-\x7f]{2}|[ÂÃ] ")
#: What a spreadsheet shows in place of a value.
ERROR_VALUE = re.compile(
    r"#(?:N/A|REF!|NAME\?|NOM\?|VALUE!|VALEUR!|DIV/0!|NUM!|NOMBRE!|NULL!|NUL!|##+)"
)

# Encodings of spreadsheets in French that are not UTF-8: Windows, the Mac, DOS.
_LEGACY = ("cp1252", "mac_roman", "cp850")
_LOWER, _UPPER = "ß-öø-ÿœšž", "À-ÖØ-ÞŒŸŠŽ"
# What French written text does not hold, and what decoding with a wrong encoding makes of it:
# capitals inside words, small letters inside words in capitals, signs inside words.
_UNLIKELY = re.compile(
    f"[^\x00-\x7f\u00a0{_LOWER}{_UPPER}«»’‘“”–—…€°·²³½™®©]"
    f"|[a-z{_LOWER}][{_UPPER}]|[A-Z{_UPPER}][{_UPPER}][a-z{_LOWER}]"
    f"|[A-Z{_UPPER}][{_LOWER}][A-Z{_UPPER}]|[A-Z{_UPPER}]{{2}}[{_LOWER}]"
    f"|[»”…€°–—·²³½™®©][A-Za-z{_LOWER}{_UPPER}]|[A-Za-z{_LOWER}{_UPPER}][«“‘]"
)

#: Called with the bytes read and the bytes in all.
Progress = Callable[[int, int], None]
#: Called with something about a whole file that its owner should know.
Say = Callable[[str], None]


# --- cells ----------------------------------------------------------------------------------------


def guarded(text: str) -> str:
    """Return ``text`` as a cell that no spreadsheet runs; :func:`unguarded` takes it back."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def unguarded(text: str) -> str:
    """Return the text that :func:`guarded` was given."""
    return text[1:] if text[:1] == "'" and text.lstrip("'").startswith(_FORMULA) else text


@lru_cache(maxsize=65536)
def clean(text: str) -> str:
    """Return ``text`` without what copying and converting left in it, composed (NFC), stripped.

    Undone are texts decoded with a wrong encoding (``ZoÃ©``), HTML entities and invisible
    characters. Cleaning twice is the same as once.
    """
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    for _ in range(10):
        before = text
        if not text.isascii():
            text = _INVISIBLE.sub("", text)
            if _MISREAD.search(text):
                import ftfy

                text = unicodedata.normalize("NFC", ftfy.fix_encoding(text))
        if "&" in text:
            text = unicodedata.normalize("NFC", re.sub(r"&#?\w+;", _entity, text))
        text = text.strip()
        if text == before:
            break
    return text


def _entity(found: re.Match[str]) -> str:
    char = html.unescape(found[0]).replace("\u00a0", " ")
    return char if char.isprintable() else found[0]


def text_of(value: Any) -> Any:
    """Return a number, date or time as text, nothing as ``""``; anything else as it is."""
    if value is None:
        return ""
    if isinstance(value, (bool, str, list, dict)):
        return value
    if isinstance(value, datetime):
        return value.isoformat().removesuffix("T00:00:00")
    if hasattr(value, "isoformat"):
        return value.isoformat()
    try:
        return str(int(value)) if value == int(value) else str(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)


# --- files ----------------------------------------------------------------------------------------


def encoding_of(path: Path, say: Say | None = None) -> str:
    """Return the encoding of a text file where its bytes leave no doubt of it.

    Raises:
        UserError: they do.
        OSError: the file can't be read.
    """
    with path.open("rb") as stream:
        if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            return "utf-16"
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            while text.read(1 << 16):
                pass
        return "utf-8-sig"
    except UnicodeDecodeError:
        pass
    data = path.read_bytes()
    if certain := legacy_encoding(data):
        if say:
            say(f"{path.name} is not in UTF-8; it is read as {certain}.")
        return certain
    start = _first_wrong(data)
    line = data.count(b"\n", 0, start) + 1
    raise UserError(
        f"{path} is not in UTF-8 (line {line}, byte 0x{data[start]:02x}): save it as “CSV UTF-8”, "
        "or pass --encoding cp1252 if it comes from Excel on Windows, mac_roman from a Mac."
    )


def _first_wrong(data: bytes) -> int:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return 0


def legacy_encoding(data: bytes) -> str | None:
    """Return the only one of the older encodings in which ``data`` look like French, if any."""
    likely = []
    for encoding in _LEGACY:
        with suppress(UnicodeDecodeError):
            text = data.decode(encoding)
            # The æ of DOS is the ë of the Mac, and rarer.
            if not _UNLIKELY.search(text.replace("æ", "╬") if encoding == "cp850" else text):
                likely.append(encoding)
    return likely[0] if len(likely) == 1 else None


def is_workbook(path: Path) -> bool:
    """Whether a file is an Excel workbook, by its first bytes.

    Raises:
        UserError: it is one of the kind that can't be read.
        OSError: the file can't be read.
    """
    with path.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise UserError(
            f"{path} is an old Excel file (.xls) or has a password: save it as .xlsx without one."
        )
    return head.startswith(b"PK\x03\x04")


def rows(
    path: Path,
    *,
    encoding: str | None = None,
    sheet: str | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Iterator[tuple[int, list[Any]]]:
    """Yield the lines of a CSV file or workbook that are not empty, with their numbers.

    Cells at the end of a line that are empty are left out. Cells are text.

    Args:
        encoding: of a CSV file; found out where ``None``.
        sheet: name or number (from 1) of the workbook's sheet; needed where several hold something.

    Raises:
        UserError: the file can't be read as such; the message names the cause and the cure.
        OSError: the file can't be read.
    """
    if is_workbook(path):
        found = _workbook_rows(path, sheet)
    elif sheet:
        raise UserError(f"{path} is no .xlsx workbook, it has no sheet {sheet!r}.")
    else:
        found = _csv_rows(path, encoding or encoding_of(path, say), progress)
    for line, cells in found:
        cells = [unguarded(cell) if isinstance(cell, str) else cell for cell in cells]
        while cells and isinstance(cells[-1], str) and not cells[-1].strip():
            cells.pop()
        if cells:
            yield line, cells


def _csv_rows(
    path: Path, encoding: str, progress: Progress | None
) -> Iterator[tuple[int, list[Any]]]:
    total, start = path.stat().st_size, 1
    try:
        # Lines may end in CR, LF or both.
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding, newline="") as stream:
            first = stream.readline().removeprefix("\ufeff")
            named = re.fullmatch(r'"?sep=(.)"?\s*', first)
            while first and ((named and start == 1) or not first.strip()):
                first, start = stream.readline(), start + 1
            # French spreadsheets write semicolons; names of columns hold none of these.
            delimiter = named[1] if named else max(",;\t", key=first.count)
            reader = csv.reader(chain([first], stream), delimiter=delimiter, strict=True)
            before = start - 1
            for cells in reader:
                yield start, cells
                start = before + reader.line_num + 1
                if progress and start % 500 == 0:
                    progress(min(raw.tell(), total), total)
    except csv.Error as error:
        message = str(error)
        if "NUL" in message:
            message = "contains a NUL character"
        elif "unexpected end" in message:
            message = 'a quote (") that is opened is never closed'
        raise UserError(
            f"{path}: line {start}: not readable as CSV: {message}. Nothing after it was read."
        ) from None
    except LookupError:
        raise UserError(f"There is no encoding {encoding!r}.") from None
    except UnicodeError:
        raise UserError(f"{path} is not in {encoding}.") from None
    if progress:
        progress(total, total)


def _workbook_rows(path: Path, wanted: str | None) -> Iterator[tuple[int, list[Any]]]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(path) as archive:
            has_formulas = any(
                re.search(rb"<f[ >/]", archive.read(name))
                for name in archive.namelist()
                if name.startswith("xl/worksheets/")
            )
        # By streams: openpyxl judges names by their ending.
        with path.open("rb") as stream, path.open("rb") as again:
            book = load_workbook(stream, read_only=True, data_only=True)
            sheet = _sheet(path, book, wanted)
            formulas: Iterator[Any] = iter(())
            if has_formulas:
                formulas = load_workbook(again, read_only=True)[sheet.title].values
            for line, cells in enumerate(sheet.values, 1):
                for value, formula in zip(cells, next(formulas, ()), strict=False):
                    if value is None and formula is not None:
                        raise UserError(
                            f"{path}: line {line}: the formula {str(formula)[:40]!r} was never "
                            "computed: open the workbook in a spreadsheet and save it."
                        )
                yield line, [text_of(value) for value in cells]
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} can't be read as an Excel workbook ({error}): save it again as .xlsx, or as "
            "“CSV UTF-8”."
        ) from None


def _sheet(path: Path, book: Any, wanted: str | None) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    for sheet in sheets.values():
        sheet.reset_dimensions()  # some programs write wrong ones
    if wanted is not None:
        by_name = {title.casefold(): sheet for title, sheet in sheets.items()}
        numbered = dict(enumerate(sheets.values(), 1))
        number = int(wanted) if wanted.isdecimal() else 0
        if found := by_name.get(wanted.casefold()) or numbered.get(number):
            return found
        raise UserError(f"{path} has no sheet {wanted!r}; it has {', '.join(sheets)}.")
    filled = [
        sheet
        for sheet in sheets.values()
        if any(any(value is not None for value in row) for row in sheet.values)
    ]
    if len(filled) > 1:
        names = ", ".join(sheet.title for sheet in filled)
        raise UserError(f"{path} has several sheets: choose one of them with --sheet: {names}.")
    if not filled:
        raise UserError(f"{path} is empty.")
    return filled[0]
