"""The training file and the names of Comprehend, and what a confusion matrix says."""

from __future__ import annotations

import csv
import io
import json
import tarfile

import pytest

from common.aws import split_s3_uri
from common.confusion_matrix import ConfusionMatrix
from common.errors import UserError
from components.comprehend.documents import DocumentsError, check_name, to_csv
from components.comprehend.service import read_confusion_matrix

TEN = [("A", f"texte {i}") for i in range(10)] + [("B", f"autre {i}") for i in range(10)]


def test_a_row_is_class_and_text_in_utf8_without_header():
    content = to_csv(TEN).content
    assert content.startswith(b"A,texte 0\nA,texte 1\n")
    assert to_csv([*TEN, ("A", "qui connaît Rust")]).content.endswith(
        "A,qui connaît Rust\n".encode()
    )


@pytest.mark.parametrize(
    "text", ['un "mot", puis', "a,b", "=SUM(A1)", "'", "« Qui ? »", "emoji 🙂", " bords "]
)
def test_any_text_comes_back_as_it_was_but_for_its_outer_spaces(text):
    rows = list(csv.reader(io.StringIO(to_csv([*TEN, ("A", text)]).content.decode())))
    assert rows[-1] == ["A", text.strip()]


def test_line_breaks_inside_a_text_become_a_space():
    assert to_csv([*TEN, ("A", "un\r\ndeux\ntrois\u2028quatre")]).content.endswith(
        b"A,un deux trois quatre\n"
    )


def test_too_few_examples_are_named_with_what_is_missing():
    with pytest.raises(DocumentsError, match=r"'A' has 9 .* add 1\."):
        to_csv(TEN[1:])


def test_the_minimum_is_configurable():
    assert to_csv(TEN[1:], minimum=9).counts == {"A": 9, "B": 10}


def test_few_examples_are_a_warning():
    assert len(to_csv(TEN).warnings) == 2
    assert to_csv(TEN, recommended=10).warnings == []


def test_a_single_intent_cannot_be_trained():
    with pytest.raises(DocumentsError, match="at least 2 intents"):
        to_csv(TEN[:10])


def test_an_empty_text_is_refused():
    with pytest.raises(DocumentsError, match="1 example"):
        to_csv([*TEN, ("A", " \n ")])


@pytest.mark.parametrize("name", ["a", "skills-bot", "a--b", "V2", "a" * 40])
def test_good_names(name):
    assert check_name(name, 40, "the endpoint") == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a_b", "é", "a b", "a" * 41, "a\n"])
def test_bad_names_are_refused_with_the_rule(name):
    with pytest.raises(UserError, match="up to 40 letters"):
        check_name(name, 40, "the endpoint")


def test_an_address_in_s3():
    assert split_s3_uri("s3://bucket/a/b c.csv") == ("bucket", "a/b c.csv")
    for wrong in ("bucket/a", "https://bucket/a", "s3:///a"):
        with pytest.raises(UserError, match="s3://BUCKET/PATH"):
            split_s3_uri(wrong)


def test_metrics_of_a_confusion_matrix():
    matrix = ConfusionMatrix.of(["A", "A", "B", "B"], ["A", "B", "B", None])
    assert matrix.labels == ["", "A", "B"]
    assert matrix.counts == [[0, 0, 0], [0, 1, 1], [1, 0, 1]]
    assert matrix.accuracy == 0.5
    # F1 of A is 2·1/(2+1), of B 2·1/(2+2); "" is the true intent of nothing.
    assert matrix.macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert ConfusionMatrix.from_json(matrix.to_json()) == matrix


def test_an_empty_matrix_has_figures_too():
    assert ConfusionMatrix([], []).metrics()["macro_f1"] == 0


def _archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as files:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        files.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_the_matrix_is_found_in_the_archive():
    matrix = ConfusionMatrix.of(["A", "B"], ["A", "A"])
    archive = _archive("output/confusion_matrix.json", json.dumps(matrix.to_json()).encode())
    assert read_confusion_matrix(archive, "x") == matrix


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(b"no archive", id="no archive"),
        pytest.param(b"", id="empty"),
        pytest.param(_archive("other.json", b"{}"), id="no matrix"),
        pytest.param(_archive("confusion_matrix.json", b"{"), id="no JSON"),
        pytest.param(_archive("confusion_matrix.json", b"[]"), id="no object"),
        pytest.param(
            _archive("confusion_matrix.json", b'{"labels": ["A"], "confusion_matrix": [[1, 2]]}'),
            id="not square",
        ),
        pytest.param(_archive("confusion_matrix.json", b'{"labels": ["A"]}'), id="labels alone"),
        pytest.param(_archive("confusion_matrix.json", "é".encode() * 100)[:80], id="cut short"),
    ],
)
def test_a_damaged_archive_is_named(archive):
    with pytest.raises(UserError, match=r"s3://b/output\.tar\.gz"):
        read_confusion_matrix(archive, "s3://b/output.tar.gz")
