"""``bot evaluate``: how well a model does on the held-out set.

Off-topic has two faces: the intent ``OUT_OF_SCOPE``, learnt from examples, and ``nlu_fallback``,
which the FallbackClassifier answers below its threshold. Users get the same answer to both, so both
count as one label here, :data:`OFF_TOPIC`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bot import charts
from bot.dataset import Example
from common.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rasa.core.agent import Agent

OFF_TOPIC = "OUT_OF_SCOPE"
FALLBACK = "nlu_fallback"
BINS = 10

Span = tuple[int, int, str]


# --- metrics ----------------------------------------------------------------------------------


def reliability(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = BINS
) -> list[tuple[float, float, int]]:
    """Return (mean confidence, accuracy, count) of the non-empty bins; equal width over (0, 1]."""
    scores, hits = np.asarray(confidences, dtype=float), np.asarray(correct, dtype=float)
    index = np.clip(np.ceil(scores * bins).astype(int) - 1, 0, bins - 1)
    rows = []
    for number in range(bins):
        inside = index == number
        if inside.any():
            rows.append(
                (float(scores[inside].mean()), float(hits[inside].mean()), int(inside.sum()))
            )
    return rows


def expected_calibration_error(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = BINS
) -> float:
    """Return the mean distance of confidence and accuracy over ``bins`` bins of equal width.

    Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3.
    """
    rows = reliability(confidences, correct, bins)
    total = sum(count for *_, count in rows)
    return sum(count * abs(mean - accuracy) for mean, accuracy, count in rows) / max(total, 1)


@dataclass(frozen=True)
class Score:
    """Counts of a retrieval task, and what follows from them; a ratio over nothing is 0."""

    true_positives: int
    predicted: int
    expected: int

    @property
    def precision(self) -> float:
        """Share of what was found that is right."""
        return self.true_positives / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of what is there that was found."""
        return self.true_positives / self.expected if self.expected else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.predicted + self.expected
        return 2 * self.true_positives / total if total else 0.0

    def to_json(self) -> dict[str, float]:
        """Return ratios and the number of expected ones."""
        ratios = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {**ratios, "support": self.expected}


def entity_scores(
    expected: Sequence[Iterable[Span]], predicted: Sequence[Iterable[Span]]
) -> dict[str, Score]:
    """Score entities, (start, end, type) per text: right only with exact borders and type.

    Returns:
        The score of each type, and of all together under ``all``.
    """
    pairs = [(set(gold), set(found)) for gold, found in zip(expected, predicted, strict=True)]
    types = sorted({span[2] for gold, found in pairs for span in gold | found})

    def score(wanted: set[str]) -> Score:
        hits = found_count = gold_count = 0
        for gold, found in pairs:
            gold = {span for span in gold if span[2] in wanted}
            found = {span for span in found if span[2] in wanted}
            hits += len(gold & found)
            found_count += len(found)
            gold_count += len(gold)
        return Score(hits, found_count, gold_count)

    return {**{name: score({name}) for name in types}, "all": score(set(types))}


def intent_scores(expected: Sequence[str], predicted: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, macro-F1 over the expected labels, and each label's scores."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    labels = sorted(set(expected))
    columns = precision_recall_fscore_support(expected, predicted, labels=labels, zero_division=0)
    rows = zip(labels, *(column.tolist() for column in columns), strict=True)
    return {
        "examples": len(expected),
        "accuracy": float(accuracy_score(expected, predicted)),
        "macro_f1": float(np.mean(columns[2])),
        "intents": {
            label: {"precision": precision, "recall": recall, "f1": f1, "support": support}
            for label, precision, recall, f1, support in rows
        },
    }


def off_topic_scores(
    is_off_topic: Sequence[bool], rejected: Sequence[bool], scores: Sequence[float]
) -> dict[str, float | None]:
    """Score the decision whether a question is ours to answer.

    Args:
        is_off_topic: The truth.
        rejected: Whether the bot gave the fallback answer.
        scores: How off-topic each text seems to the model; higher is more.

    Returns:
        Shares of accepted in-scope and rejected off-topic texts, and the area under the ROC curve
        of ``scores``; None where there is nothing to take a share of.
    """
    from sklearn.metrics import roc_auc_score

    truth, fell = np.asarray(is_off_topic, dtype=bool), np.asarray(rejected, dtype=bool)
    both = bool(truth.any() and not truth.all())
    return {
        "in_scope_accepted": float((~fell[~truth]).mean()) if not truth.all() else None,
        "off_topic_rejected": float(fell[truth].mean()) if truth.any() else None,
        "auroc": float(roc_auc_score(truth, scores)) if both else None,
    }


# --- predictions ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prediction:
    """What a model says about an example."""

    example: Example
    answered: str  # the intent that the bot acts on
    ranking: dict[str, float]  # the classifier's own, without the fallback
    entities: frozenset[Span]

    @property
    def expected(self) -> str:
        """The right intent."""
        return merged(self.example.intent)

    @property
    def confidence(self) -> float:
        """The classifier's confidence in its first choice."""
        return max(self.ranking.values(), default=0.0)

    @property
    def is_right_choice(self) -> bool:
        """Whether the classifier's first choice is right, whatever the fallback makes of it."""
        first = max(self.ranking, key=lambda name: self.ranking[name], default="")
        return merged(first) == self.expected

    @property
    def off_topic_score(self) -> float:
        """1 minus the highest confidence in an intent that is ours."""
        return 1.0 - max(
            (value for name, value in self.ranking.items() if merged(name) != OFF_TOPIC),
            default=0.0,
        )

    @property
    def expected_entities(self) -> frozenset[Span]:
        """The annotated entities."""
        return frozenset((one.start, one.end, one.entity) for one in self.example.entities)

    def fact(self, name: str) -> Any:
        """Return a metadata value of the example."""
        return (self.example.metadata or {}).get(name)


def merged(intent: str | None) -> str:
    """Return the label with both kinds of off-topic as one."""
    return OFF_TOPIC if intent in (None, "", FALLBACK) else str(intent)


def quiet_agent(model: Path, **options: Any) -> Agent:
    """Load ``model``, without a log of every message; ``options`` go to ``Agent.load``."""
    from bot.runtime.rasa_cli import configure_process, ignore_deprecations_of_others

    configure_process()
    ignore_deprecations_of_others()
    from rasa.core.agent import Agent
    from rasa.utils.common import configure_logging_and_warnings
    from rasa.utils.log_utils import configure_structlog

    configure_logging_and_warnings(logging.WARNING)
    configure_structlog(logging.WARNING)
    return Agent.load(str(model), **options)


def predict(model: Path, examples: Sequence[Example]) -> list[Prediction]:
    """Run the NLU part of a Rasa model on ``examples``, as the bot would."""
    agent = quiet_agent(model)

    async def parse_all() -> list[dict[str, Any]]:
        return [await agent.parse_message(example.text) for example in examples]

    return [
        to_prediction(example, parsed)
        for example, parsed in zip(examples, asyncio.run(parse_all()), strict=True)
    ]


def to_prediction(example: Example, parsed: dict[str, Any]) -> Prediction:
    """Build a prediction from Rasa's parse result."""
    return Prediction(
        example,
        merged(parsed["intent"]["name"]),
        {
            intent["name"]: float(intent["confidence"])
            for intent in parsed["intent_ranking"]
            if intent["name"] != FALLBACK
        },
        frozenset((one["start"], one["end"], one["entity"]) for one in parsed["entities"]),
    )


def in_terms_of_the_set(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Return the predictions in the labels that their examples have.

    Where a set was labelled before an intent or an entity was there, the intent was off-topic and
    the entity was not annotated.
    """
    intents = {one.expected for one in predictions}
    entities = {span[2] for one in predictions for span in one.expected_entities}

    def known(intent: str) -> str:
        return intent if intent in intents else OFF_TOPIC

    result = []
    for one in predictions:
        ranking: dict[str, float] = {}
        for name, confidence in one.ranking.items():
            ranking[known(name)] = max(confidence, ranking.get(known(name), 0.0))
        found = frozenset(span for span in one.entities if span[2] in entities)
        result.append(
            dataclasses.replace(one, answered=known(one.answered), ranking=ranking, entities=found)
        )
    return result


# --- the report -------------------------------------------------------------------------------


def evaluate(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return every figure of the report; see the module for what off-topic means.

    Raises:
        UserError: there are no predictions.
    """
    if not predictions:
        raise UserError("There are no examples to evaluate on.")
    predictions = in_terms_of_the_set(predictions)
    in_scope = [one for one in predictions if one.expected != OFF_TOPIC]
    kinds = sorted({str(one.fact("kind")) for one in predictions if one.fact("kind")})
    slices = {
        "all": predictions,
        "seen": [one for one in predictions if not one.fact("unseen")],
        "unseen": [one for one in predictions if one.fact("unseen")],
    }

    def intents(some: Sequence[Prediction]) -> dict[str, Any]:
        return intent_scores([one.expected for one in some], [one.answered for one in some])

    labels = sorted({one.expected for one in predictions} | {one.answered for one in predictions})
    return {
        "with_off_topic": intents(predictions),
        "without_off_topic": intents(in_scope) if in_scope else None,
        "off_topic": off_topic_scores(
            [one.expected == OFF_TOPIC for one in predictions],
            [one.answered == OFF_TOPIC for one in predictions],
            [one.off_topic_score for one in predictions],
        ),
        "expected_calibration_error": expected_calibration_error(
            [one.confidence for one in predictions], [one.is_right_choice for one in predictions]
        ),
        "confusion": {"labels": labels, "rows_expected": confusion(predictions, labels).tolist()},
        "kinds": {
            kind: {
                "examples": len(some),
                "accuracy": sum(one.answered == one.expected for one in some) / len(some),
            }
            for kind in kinds
            for some in [[one for one in predictions if one.fact("kind") == kind]]
        },
        "entities": {
            name: {
                entity: score.to_json()
                for entity, score in entity_scores(
                    [one.expected_entities for one in some], [one.entities for one in some]
                ).items()
            }
            for name, some in slices.items()
            if some
        },
        "mistakes": [
            {
                "text": one.example.text,
                "expected": one.expected,
                "answered": one.answered,
                "confidence": round(one.confidence, 4),
            }
            for one in predictions
            if one.answered != one.expected
        ],
    }


def confusion(predictions: Sequence[Prediction], labels: Sequence[str]) -> NDArray[np.int64]:
    """Return the counts, one row an expected label, one column an answered one."""
    from sklearn.metrics import confusion_matrix

    matrix: NDArray[np.int64] = confusion_matrix(
        [one.expected for one in predictions],
        [one.answered for one in predictions],
        labels=list(labels),
    )
    return matrix


def print_report(figures: dict[str, Any], console: Console) -> None:
    """Print the figures as tables."""
    for title, key in (("with", "with_off_topic"), ("without", "without_off_topic")):
        scores = figures[key]
        if scores is None:
            continue
        table = Table(
            "Intent", "Precision", "Recall", "F1", "Examples", title=f"Intents {title} off-topic"
        )
        for intent, row in scores["intents"].items():
            table.add_row(intent, *_percents(row), str(row["support"]))
        console.print(table)
        console.print(
            f"  accuracy {scores['accuracy']:.1%}, macro-F1 {scores['macro_f1']:.1%}, "
            f"{scores['examples']} examples\n"
        )
    off_topic = {
        key: "–" if value is None else f"{value:.1%}" for key, value in figures["off_topic"].items()
    }
    console.print(
        f"Off-topic: rejected {off_topic['off_topic_rejected']}; in scope: accepted "
        f"{off_topic['in_scope_accepted']}; AUROC {off_topic['auroc']}\n"
        f"Expected calibration error ({BINS} bins): "
        f"{figures['expected_calibration_error']:.1%}\n"
    )
    labels = figures["confusion"]["labels"]
    table = Table("Expected ↓ answered →", *labels, title="Confusion")
    for label, row in zip(labels, figures["confusion"]["rows_expected"], strict=True):
        table.add_row(label, *map(str, row))
    console.print(table)
    if figures["kinds"]:
        table = Table("Kind", "Accuracy", "Examples", title="Accuracy by kind of example")
        for kind, row in figures["kinds"].items():
            table.add_row(kind, f"{row['accuracy']:.1%}", str(row["examples"]))
        console.print(table)
    for name, rows in figures["entities"].items():
        table = Table(
            "Entity", "Precision", "Recall", "F1", "Expected", title=f"Entities, {name} examples"
        )
        for entity, row in rows.items():
            table.add_row(entity, *_percents(row), str(row["support"]))
        console.print(table)
    for mistake in figures["mistakes"]:
        console.print(
            f"✗ {mistake['text']!r}: {mistake['answered']}, should be {mistake['expected']}",
            markup=False,
            soft_wrap=True,
        )


def _percents(row: dict[str, float]) -> list[str]:
    return [f"{row[key]:.1%}" for key in ("precision", "recall", "f1")]


def write_report(
    figures: dict[str, Any], predictions: Sequence[Prediction], folder: Path
) -> list[Path]:
    """Write ``figures.json`` and the pictures to ``folder``; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "figures.json"]
    paths[0].write_text(json.dumps(figures, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    drawings = {
        "confusion": ("Which intents are taken for which", _draw_confusion),
        "reliability": ("Share of right answers against confidence", _draw_reliability),
        "confidence": ("How confident right and wrong answers are", _draw_confidence),
    }
    for name, (alternative, draw) in drawings.items():
        filled = functools.partial(draw, figures=figures, predictions=predictions)
        charts.save(name, alternative, filled, folder, (7, 6))
        paths.append(folder / f"{name}.png")
    return paths


def _draw_confusion(axes: Axes, figures: dict[str, Any], predictions: Sequence[Prediction]) -> None:
    counts, right = figures["confusion"], figures["with_off_topic"]["accuracy"]
    title = f"Held-out set: {right:.1%} right"
    charts.draw_confusion(axes, counts["labels"], counts["rows_expected"], title)


def _draw_reliability(
    axes: Axes, figures: dict[str, Any], predictions: Sequence[Prediction]
) -> None:
    rows = reliability(
        [one.confidence for one in predictions], [one.is_right_choice for one in predictions]
    )
    means, accuracies = [row[0] for row in rows], [row[1] for row in rows]
    axes.plot([0, 1], [0, 1], linestyle="--", color=charts.INK, label="perfectly calibrated")
    axes.plot(means, accuracies, color=charts.COLOURS[0], marker="o", label="model")
    for mean, accuracy, count in rows:
        axes.annotate(str(count), (mean, accuracy), textcoords="offset points", xytext=(5, -12))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("Mean confidence (number of examples beside the dot)")
    axes.set_ylabel("Share of right first choices")
    axes.set_title(f"Expected calibration error {figures['expected_calibration_error']:.1%}")
    axes.legend(loc="upper left")
    charts.clear(axes)


def _draw_confidence(
    axes: Axes, figures: dict[str, Any], predictions: Sequence[Prediction]
) -> None:
    groups = {
        "right": [one.confidence for one in predictions if one.is_right_choice],
        "wrong": [one.confidence for one in predictions if not one.is_right_choice],
    }
    axes.hist(
        list(groups.values()),
        bins=np.linspace(0, 1, 2 * BINS + 1).tolist(),
        stacked=True,
        label=[f"{name} ({len(values)})" for name, values in groups.items()],
        color=charts.COLOURS[:2],
    )
    axes.set_yscale("symlog")
    axes.set_xlabel("Confidence of the first choice")
    axes.set_ylabel("Examples")
    axes.set_title("Confidence on the held-out set")
    axes.legend(loc="upper left")
    charts.clear(axes)
