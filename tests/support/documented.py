"""The fenced code blocks of a page, for tests that do what the page says."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

# The first line of a shell block that no test runs; the reader sees the reason as well.
NOT_RUN = "# Not run by the tests: "
# The first line of a shell block whose command stays until Ctrl-C.
STAYS = "# Stays until Ctrl-C"

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[^\n`]*)\n"
    r"(?P<text>.*?)^ *(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: ``line`` is that of its fence, ``text`` its content without indentation."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]

    @property
    def reason(self) -> str | None:
        """Why no test runs it; None where one does."""
        return self.first_line.removeprefix(NOT_RUN) if self._begins(NOT_RUN) else None

    @property
    def stays(self) -> bool:
        """Whether its command runs until Ctrl-C; the next blocks go into a second terminal."""
        return self._begins(STAYS)

    @property
    def file(self) -> str | None:
        """The file that it belongs into, where its first line is nothing but the path of one."""
        found = re.fullmatch(r"# ([\w./-]+\.\w+)", self.first_line)
        return found[1] if found and self.language != "sh" else None

    @property
    def replaces(self) -> bool:
        """Whether what stays is to be ended before it."""
        return self.stays and "instead of" in self.first_line

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def _begins(self, marker: str) -> bool:
        return self.first_line.startswith(marker)


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """Return the fenced blocks of ``page`` in order; only those of ``language`` if it is given."""
    content = page.read_text(encoding="utf-8")
    found = [
        Block(
            page,
            content[: match.start()].count("\n") + 1,
            match["language"].strip(),
            textwrap.dedent(match["text"]),
        )
        for match in _FENCE.finditer(content)
    ]
    return [block for block in found if language in (None, block.language)]
