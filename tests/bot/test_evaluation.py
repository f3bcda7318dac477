"""The metrics, against values computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from bot import evaluation
from bot.dataset import Entity, Example
from bot.evaluation import Prediction, Score
from common.errors import UserError


def test_reliability_puts_each_confidence_into_one_bin() -> None:
    rows = evaluation.reliability([0.0, 0.1, 0.11, 0.95, 1.0], [False, True, True, True, False])
    assert [count for *_, count in rows] == [2, 1, 2]
    assert rows[0] == pytest.approx((0.05, 0.5, 2))
    assert rows[2] == pytest.approx((0.975, 0.5, 2))


def test_expected_calibration_error() -> None:
    # Bin (0.7, 0.8]: confidence 0.8, accuracy 0.75, 4 texts; bin (0.5, 0.6]: 0.6 and 0.0, 1 text.
    confidences = [0.8, 0.8, 0.8, 0.8, 0.6]
    correct = [True, True, True, False, False]
    expected = 4 / 5 * 0.05 + 1 / 5 * 0.6
    assert evaluation.expected_calibration_error(confidences, correct) == pytest.approx(expected)
    assert evaluation.expected_calibration_error([1.0, 1.0], [True, True]) == 0.0
    assert evaluation.expected_calibration_error([], []) == 0.0


def test_score() -> None:
    score = Score(true_positives=2, predicted=4, expected=3)
    assert score.precision == pytest.approx(0.5)
    assert score.recall == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(4 / 7)
    nothing = Score(0, 0, 0)
    assert (nothing.precision, nothing.recall, nothing.f1) == (0.0, 0.0, 0.0)


def test_entities_need_exact_borders_and_type() -> None:
    expected = [[(0, 4, "person")], [(3, 6, "technology"), (8, 14, "agency")], []]
    predicted = [
        [(0, 4, "person"), (0, 4, "technology")],
        [(3, 7, "technology"), (8, 14, "agency")],
        [(1, 2, "person")],
    ]
    scores = evaluation.entity_scores(expected, predicted)
    assert scores == {
        "person": Score(1, 2, 1),
        "technology": Score(0, 2, 1),
        "agency": Score(1, 1, 1),
        "all": Score(2, 5, 3),
    }


def test_intents() -> None:
    scores = evaluation.intent_scores(["A", "A", "B", "B"], ["A", "B", "B", "C"])
    assert scores["accuracy"] == 0.5
    # A: precision 1, recall 1/2; B: 1/2 and 1/2. C is nobody's label: not in the mean.
    assert scores["intents"]["A"]["f1"] == pytest.approx(2 / 3)
    assert scores["intents"]["B"]["f1"] == pytest.approx(1 / 2)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert set(scores["intents"]) == {"A", "B"}


def test_off_topic() -> None:
    truth = [True, True, False, False, False, False]
    rejected = [True, False, False, False, False, True]
    scores = [0.9, 0.3, 0.1, 0.2, 0.3, 0.8]
    found = evaluation.off_topic_scores(truth, rejected, scores)
    assert found["off_topic_rejected"] == 0.5
    assert found["in_scope_accepted"] == 0.75
    # Pairs (off-topic, in scope): 0.9 beats all four, 0.3 beats two and ties with one: 6.5 of 8.
    assert found["auroc"] == pytest.approx(6.5 / 8)
    assert evaluation.off_topic_scores([False], [False], [0.1]) == {
        "in_scope_accepted": 1.0,
        "off_topic_rejected": None,
        "auroc": None,
    }


def parsed(*ranking: tuple[str, float], **more: object) -> dict[str, object]:
    intents = [{"name": name, "confidence": confidence} for name, confidence in ranking]
    return {"intent": intents[0], "intent_ranking": intents, "entities": [], **more}


def test_fallback_and_out_of_scope_are_one_label() -> None:
    example = Example("Quel temps fait-il ?", "OUT_OF_SCOPE")
    fell = evaluation.to_prediction(
        example, parsed(("nlu_fallback", 0.6), ("WHO_IS", 0.4), ("OUT_OF_SCOPE", 0.3))
    )
    assert fell.answered == fell.expected == "OUT_OF_SCOPE"
    # The classifier's own choice was wrong, which is what calibration is about.
    assert fell.confidence == 0.4
    assert not fell.is_right_choice
    assert fell.off_topic_score == pytest.approx(0.6)
    learnt = evaluation.to_prediction(example, parsed(("OUT_OF_SCOPE", 0.9), ("WHO_IS", 0.1)))
    assert learnt.answered == "OUT_OF_SCOPE"
    assert learnt.is_right_choice
    assert learnt.off_topic_score == pytest.approx(0.9)


def predictions() -> list[Prediction]:
    def one(text: str, intent: str, answered: str, kind: str, unseen: bool = False) -> Prediction:
        entities = (Entity(0, 4, "person"),) if unseen else ()
        facts = {"kind": kind, **({"unseen": True} if unseen else {})}
        example = Example(text, intent, entities, facts)
        found = [{"start": 0, "end": 4, "entity": "person"}] if unseen else []
        return evaluation.to_prediction(example, parsed((answered, 0.9), entities=found))

    return [
        one("Paul ?", "WHO_IS", "WHO_IS", "bare", unseen=True),
        one("Qui est-ce ?", "WHO_IS", "nlu_fallback", "formal"),
        one("Bonjour", "HOW_ARE_YOU", "HOW_ARE_YOU", "formal"),
        one("Il pleut", "OUT_OF_SCOPE", "nlu_fallback", "formal"),
    ]


def test_figures_and_files(tmp_path: Path) -> None:
    some = predictions()
    figures = evaluation.evaluate(some)
    assert figures["with_off_topic"]["accuracy"] == 0.75
    assert figures["without_off_topic"]["accuracy"] == pytest.approx(2 / 3)
    assert figures["kinds"]["formal"] == {"examples": 3, "accuracy": pytest.approx(2 / 3)}
    assert figures["entities"]["unseen"]["person"]["f1"] == 1.0
    assert figures["entities"]["seen"]["all"]["support"] == 0
    assert figures["confusion"]["labels"] == ["HOW_ARE_YOU", "OUT_OF_SCOPE", "WHO_IS"]
    assert figures["confusion"]["rows_expected"] == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert [mistake["text"] for mistake in figures["mistakes"]] == ["Qui est-ce ?"]

    paths = evaluation.write_report(figures, some, tmp_path / "eval")
    assert json.loads(paths[0].read_text(encoding="utf-8")) == json.loads(json.dumps(figures))
    for path in paths[1:]:
        assert path.read_bytes().startswith(b"\x89PNG"), path
    console = Console(record=True, width=120)
    evaluation.print_report(figures, console)
    printed = console.export_text()
    assert "accuracy 75.0%" in printed
    assert "Qui est-ce ?" in printed


def test_nothing_to_evaluate() -> None:
    with pytest.raises(UserError, match="no examples"):
        evaluation.evaluate([])


def test_labels_that_the_set_lacks_count_as_before_they_were_there() -> None:
    examples = [
        Example("merci", "OUT_OF_SCOPE"),
        Example("qui est Paul ?", "WHO_IS", (Entity(8, 12, "person"),)),
    ]
    spans = [frozenset({(0, 5, "choice")}), frozenset({(8, 12, "person"), (0, 3, "ask")})]
    found = [
        Prediction(
            examples[0],
            "THANKS",
            {"THANKS": 0.7, evaluation.OFF_TOPIC: 0.2, "WHO_IS": 0.1},
            spans[0],
        ),
        Prediction(examples[1], "WHO_IS", {"WHO_IS": 0.9, "THANKS": 0.1}, spans[1]),
    ]
    figures = evaluation.evaluate(found)
    assert figures["with_off_topic"]["accuracy"] == 1.0
    assert figures["confusion"]["labels"] == [evaluation.OFF_TOPIC, "WHO_IS"]
    assert set(figures["entities"]["all"]) == {"person", "all"}
