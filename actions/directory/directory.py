"""The directory's public class (signatures first; the implementation follows)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from actions.directory.model import (
    Collaborator,
    ExpertsFound,
    ImportResult,
    PeopleFound,
    Stats,
)


class Directory:
    """A directory of collaborators in a database; thread-safe."""

    def __init__(self, url: str | None = None) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def get(self, collaborator_id: str) -> Collaborator | None:
        raise NotImplementedError

    def find_people(self, name: str, *, agency: str | None = None, limit: int = 6) -> PeopleFound:
        raise NotImplementedError

    def find_experts(
        self, skill: str, *, agency: str | None = None, offset: int = 0, limit: int = 5
    ) -> ExpertsFound:
        raise NotImplementedError

    def skill_level(self, collaborator_id: str, skill: str) -> int | None:
        raise NotImplementedError

    def agencies(self) -> tuple[str, ...]:
        raise NotImplementedError

    def stats(self) -> Stats:
        raise NotImplementedError

    def import_(
        self,
        path: str | Path,
        *,
        replace: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> ImportResult:
        raise NotImplementedError

    def export(self, path: str | Path, format: str | None = None) -> int:
        raise NotImplementedError


def ensure_sample(url: str | None, csv_path: str | Path) -> bool:
    """Fill an empty directory from ``csv_path``; True if it was filled."""
    raise NotImplementedError
