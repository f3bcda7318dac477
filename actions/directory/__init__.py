"""The collaborator directory: a database of people and their skills, and the search over it."""

from __future__ import annotations

from actions.directory.directory import Directory, ensure_sample
from actions.directory.model import (
    Collaborator,
    Completion,
    DirectoryError,
    Expert,
    ExpertsFound,
    Found,
    ImportResult,
    InvalidFileError,
    Listed,
    PeopleFound,
    Skill,
    Stats,
)
from actions.directory.spotting import Spotted

__all__ = [
    "Collaborator",
    "Completion",
    "Directory",
    "DirectoryError",
    "Expert",
    "ExpertsFound",
    "Found",
    "ImportResult",
    "InvalidFileError",
    "Listed",
    "PeopleFound",
    "Skill",
    "Spotted",
    "Stats",
    "ensure_sample",
]
