"""The training examples as the business delivers them (JSON) and as Rasa reads them (YAML).

Both directions are lossless: order, entities with value, role and group, metadata, lookup tables,
synonyms and regular expressions come back as they were. What cannot be said in Rasa's YAML (a text
that looks like an entity annotation, say) is refused by name and never altered silently.
"""

from bot.dataset.files import append, files_of, read, read_markdown, write
from bot.dataset.json_format import parse_json, to_json
from bot.dataset.model import (
    SECTIONS,
    VERSION,
    Dataset,
    DatasetError,
    Entity,
    Example,
    Problem,
)
from bot.dataset.rasa_yaml import annotate, annotated, parse_yaml, to_training_data, to_yaml
from bot.dataset.validation import Labels, folded, read_labels, validate

__all__ = [
    "SECTIONS",
    "VERSION",
    "Dataset",
    "DatasetError",
    "Entity",
    "Example",
    "Labels",
    "Problem",
    "annotate",
    "annotated",
    "append",
    "files_of",
    "folded",
    "parse_json",
    "parse_yaml",
    "read",
    "read_labels",
    "read_markdown",
    "to_json",
    "to_training_data",
    "to_yaml",
    "validate",
    "write",
]
