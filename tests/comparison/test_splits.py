"""The material of a comparison and its splits."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from common.errors import UserError
from comparison import splits
from comparison.settings import MaterialSettings


def write_csv(path: Path, rows: list[tuple[str, str]], header: str = "text,intent") -> Path:
    lines = [header, *(f'"{text}",{intent}' for text, intent in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows(**counts: int) -> list[tuple[str, str]]:
    return [(f"{intent} {n}", intent) for intent, count in counts.items() for n in range(count)]


def load(path: Path, held_out: Path | None = None) -> splits.Data:
    apart = str(held_out) if held_out else None
    return splits.load(MaterialSettings(train=str(path), held_out=apart), least=5)


@pytest.mark.parametrize("header", ["text,intent", "\ufeffText,Label", "text,category"])
def test_csv_json_and_rasa_yaml_give_the_same(tmp_path: Path, header: str) -> None:
    pairs = rows(a=10, b=10)
    csv = load(write_csv(tmp_path / "set.csv", pairs, header))
    examples = [{"text": text, "intent": intent} for text, intent in pairs]
    (tmp_path / "set.json").write_text(json.dumps({"version": 1, "examples": examples}))
    blocks = "".join(
        f"- intent: {name}\n  examples: |\n"
        + "".join(f"    - {text}\n" for text, intent in pairs if intent == name)
        for name in "ab"
    )
    (tmp_path / "set.yml").write_text(f'version: "3.1"\nnlu:\n{blocks}')
    for name in ("set.json", "set.yml"):
        other = load(tmp_path / name)
        assert (other.train, other.held_out) == (csv.train, csv.held_out)


def test_csv_keeps_quoted_separators_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_text('intent;text\na;"x; y\nz"\n' + "".join(f"a;{n}\nb;n{n}\n" for n in range(9)))
    data = load(path)
    assert "x; y\nz" in [*data.train.texts, *data.held_out.texts]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence,intent\na,b\n", "must name the columns"),
        ("text,intent\na,\n", "line 2"),
        ("", "must name the columns"),
    ],
)
def test_csv_that_cannot_be_used_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "set.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        load(tmp_path / "set.csv")


def test_held_out_part_is_stratified_apart_and_always_the_same(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "set.csv", rows(a=50, b=20))
    data = load(path)
    assert Counter(data.held_out.intents) == {"a": 10, "b": 4}
    assert not set(data.held_out.texts) & set(data.train.texts)
    assert load(path) == data
    assert any("put aside" in note for note in data.notes)


def test_rare_intents_are_left_out_aloud(tmp_path: Path) -> None:
    data = load(write_csv(tmp_path / "set.csv", rows(a=10, b=10, rare=4)))
    assert data.intents == ["a", "b"]
    assert any("rare (4)" in note for note in data.notes)


def test_repeated_and_contradictory_sentences_are_left_out_aloud(tmp_path: Path) -> None:
    pairs = [*rows(a=10, b=10), ("a 0", "a"), ("both", "a"), ("both", "b")]
    data = load(write_csv(tmp_path / "set.csv", pairs))
    assert len(data.train) + len(data.held_out) == 20
    assert any("1 repeated" in note for note in data.notes)
    assert any("« both »" in note for note in data.notes)


def test_held_out_sentences_are_never_trained_on(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "set.csv", rows(a=10, b=10))
    held_out = write_csv(tmp_path / "held.csv", [("a 0", "a"), ("new", "b"), ("other", "c")])
    data = load(train, held_out)
    assert "a 0" not in data.train.texts
    assert data.held_out.texts == ["a 0", "new"]
    assert any("c (1)" in note for note in data.notes)


def test_one_intent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rare \(2\)"):
        load(write_csv(tmp_path / "set.csv", rows(a=10, rare=2)))


def test_folds_are_stratified_and_score_each_example_once() -> None:
    intents = ["a"] * 50 + ["b"] * 10 + ["c"] * 5
    found = splits.folds(intents, 5, seed=1)
    assert sorted(index for split in found for index in split.test) == list(range(65))
    for split in found:
        assert not set(split.train) & set(split.test)
        assert Counter(intents[i] for i in split.test) == {"a": 10, "b": 2, "c": 1}
    assert splits.folds(intents, 5, seed=1) == found
    assert splits.folds(intents, 5, seed=2) != found


def test_subsets_grow() -> None:
    intents = ["a"] * 30 + ["b"] * 8
    small, large = (set(splits.subset(intents, size, seed=0)) for size in (5, 20))
    assert Counter(intents[i] for i in small) == {"a": 5, "b": 5}
    assert Counter(intents[i] for i in large) == {"a": 20, "b": 8}
    assert small < large
    assert small != set(splits.subset(intents, 5, seed=1))


def test_sizes_that_leave_nothing_out_are_no_points_of_a_learning_curve() -> None:
    assert splits.useful_sizes(["a"] * 30 + ["b"] * 8, [50, 20, 5, 30]) == [5, 20]
