"""The configuration of the CamemBERT intent classifier: every key, its default and its rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from common.config import (
    ConfigError,
    Rule,
    boolean,
    check_config,
    integer,
    number,
    one_of,
    optional,
    text,
)
from components import remote_aws

COMPONENT = "CamembertIntentClassifier"

# Of distillation: versions of each sentence that the teacher judges; passes of the student over
# each of them.
STUDENT_VERSIONS, STUDENT_PASSES = 4, 2

DEFAULTS: dict[str, Any] = {
    # The encoder: a name on the Hugging Face hub or a folder (config.json, tokenizer.json and
    # model.safetensors), and the hub revision (commit, tag or branch) to hold on to.
    "encoder": "almanach/camembert-base",
    "revision": "main",
    # Used, with a warning, where the hub cannot be reached: a folder, or the one that is built from
    # installed packages (docs/encoders.md). Null: fail instead.
    "offline_encoder": "e5-small-fr",
    # Training.
    "epochs": 8,
    "batch_size": 32,
    "learning_rate": 1e-4,
    "head_learning_rate": 5e-3,
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    # Weight of the supervised contrastive loss beside that of the classes; 0: none.
    "contrastive_weight": 0.5,
    "class_weights": "smoothed",
    # Extra copies of each sentence with typos, without accents, without capitals.
    "augmentation": 2,
    "seed": 42,
    # Share of the examples held out for early stopping and calibration; epochs without
    # progress after which training stops (null: never).
    "validation_share": 0.1,
    "patience": 2,
    # Train once more, on all examples, after the held-out share has served.
    "refit": True,
    # Layers from the bottom that keep their pretrained weights. Their output is computed once
    # per sentence, not once per epoch.
    "freeze_embeddings": True,
    "freeze_layers": 6,
    # Null: no student. Else its number of layers: it imitates the fine-tuned model, and answers
    # what it is sure of in a fraction of the time.
    "distill": None,
    # Network.
    "pooling": "mean",
    "head": "cosine",
    "text_prefix": "",
    "max_length": 64,
    # Serving.
    "precision": "int8",
    "threads": 2,
    "calibration": True,
    # What a text gets of which the vocabulary knows nothing: no intent, or the nearest one.
    "unknown_text": "reject",
    # Null: trained and served in this process. Else the name of a SageMaker endpoint that serves
    # a model of ours (infra/sagemaker): nothing is trained then, and it is asked within the limits
    # below.
    "sagemaker_endpoint": None,
    **remote_aws.DEFAULTS,
}

RULES: dict[str, Rule] = {
    "encoder": text(),
    "revision": text(),
    "offline_encoder": optional(text()),
    "epochs": integer(1),
    "batch_size": integer(1),
    "learning_rate": number(0, 1, above=True),
    "head_learning_rate": number(0, 1, above=True),
    "warmup_ratio": number(0, 1),
    "weight_decay": number(0, 1),
    "label_smoothing": number(0, 1, below=True),
    "contrastive_weight": number(0, 10),
    "class_weights": one_of("balanced", "smoothed", None),
    "augmentation": integer(0, 20),
    "seed": integer(0),
    "validation_share": number(0, 0.5),
    "patience": optional(integer(1)),
    "refit": boolean(),
    "freeze_embeddings": boolean(),
    "freeze_layers": integer(0),
    "distill": optional(integer(1)),
    "pooling": one_of("mean", "cls"),
    "head": one_of("cosine", "linear"),
    "text_prefix": text(empty=True),
    "max_length": integer(8, 512),
    "precision": one_of("int8", "fp32"),
    "threads": integer(0, 256),
    "calibration": boolean(),
    "unknown_text": one_of("reject", "classify"),
    # The names that CreateEndpoint's API reference allows.
    "sagemaker_endpoint": Rule(
        "null or a name of up to 63 letters (without accents), digits and hyphens",
        lambda value: (
            value is None
            or (
                isinstance(value, str)
                and len(value) <= 63
                and bool(re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", value))
            )
        ),
    ),
    **remote_aws.RULES,
}


def validate(config: Mapping[str, Any]) -> None:
    """Check a complete configuration (defaults merged in), as far as it is this module's.

    Raises:
        ConfigError: A key is unknown, a value is out of its range, or two values
            contradict each other.
    """
    check_config(COMPONENT, config, RULES)
    check(config)


def check(config: Mapping[str, Any]) -> None:
    """Raise a :class:`ConfigError` where two values contradict each other."""
    if config["freeze_layers"] > 0 and not config["freeze_embeddings"]:
        raise ConfigError(
            f"{COMPONENT} in config.yml: 'freeze_layers' above 0 needs 'freeze_embeddings: true', "
            "since the frozen layers stand on the embeddings."
        )
    if config["validation_share"] == 0 and (config["calibration"] or config["patience"]):
        raise ConfigError(
            f"{COMPONENT} in config.yml: early stopping ('patience') and 'calibration' are fitted "
            "on held-out examples. Set 'validation_share' above 0, or set 'patience: null' and "
            "'calibration: false'."
        )
    if config["validation_share"] == 0 and config["distill"]:
        raise ConfigError(
            f"{COMPONENT} in config.yml: what the student of 'distill' may answer is decided on "
            "held-out examples. Set 'validation_share' above 0, or 'distill: null'."
        )
