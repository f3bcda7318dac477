"""The dataset: both conversions without loss, and every mistake named with its line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasa.shared.nlu.training_data.formats.rasa_yaml import RasaYAMLReader
from typer.testing import CliRunner

from bot import dataset as datasets
from bot.cli import app
from bot.dataset import Dataset, Entity, Example, Labels
from bot.dataset.rasa_yaml import unprintable
from common.errors import UserError
from tests.support import ROOT

OURS = datasets.files_of(ROOT / "data")
LABELS = Labels(frozenset({"WHO_IS", "HOW_ARE_YOU"}), frozenset({"person", "technology"}))

# --- arbitrary datasets -----------------------------------------------------------------------

plain_texts = st.text(
    st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp"), blacklist_characters="[]{}"),
    min_size=1,
    max_size=30,
).filter(lambda text: text == text.strip() and not unprintable(text))
names = st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | plain_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
metadata = st.none() | st.dictionaries(names, json_values, min_size=1, max_size=3)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Draw an example out of words, some of them entities, perhaps on several lines."""
    parts = draw(st.lists(plain_texts, min_size=1, max_size=5))
    text, entities = "", []
    for number, part in enumerate(parts):
        text += draw(st.sampled_from([" ", "\n"])) if number else ""
        if draw(st.booleans()):
            value = draw(st.none() | plain_texts)
            entities.append(
                Entity(
                    len(text),
                    len(text) + len(part),
                    draw(names),
                    None if value == part else value,
                    draw(st.none() | names),
                    draw(st.none() | names),
                )
            )
        text += part
    return Example(text, draw(names), tuple(entities), draw(metadata), draw(metadata))


# Rasa warns of values that contradict each other, which arbitrary ones do.
contradictions_are_fine = pytest.mark.filterwarnings("ignore:Found inconsistent entity synonyms")
sections = st.dictionaries(names, st.lists(plain_texts, min_size=1, max_size=3), max_size=3)
whole_datasets = st.builds(
    Dataset,
    examples=st.lists(examples(), max_size=6),
    lookups=sections,
    synonyms=sections,
    regexes=sections,
)


@contradictions_are_fine
@settings(deadline=None, max_examples=60)
@given(whole_datasets)
def test_json_to_yaml_to_json_is_identical(dataset: Dataset) -> None:
    delivered = datasets.to_json(dataset)
    from_json, problems = datasets.parse_json(delivered)
    assert problems == []
    assert from_json == dataset
    from_yaml, problems = datasets.parse_yaml(datasets.to_yaml(from_json))
    assert problems == []
    assert datasets.to_json(from_yaml) == delivered


@contradictions_are_fine
@settings(deadline=None, max_examples=20)
@given(whole_datasets)
def test_rasa_reads_what_the_json_says(dataset: Dataset) -> None:
    read = RasaYAMLReader().reads(datasets.to_yaml(dataset))
    expected = list(dict.fromkeys(example.text for example in dataset.examples))
    assert (
        list(dict.fromkeys(message.get("text") for message in read.training_examples)) == expected
    )
    by_text = {(example.text, example.intent): example for example in dataset.examples}
    for message in read.training_examples:
        assert (message.get("text"), message.get("intent")) in by_text


@settings(deadline=None, max_examples=80)
@given(st.text(max_size=40), st.text(max_size=12))
def test_any_text_is_kept_or_refused(text: str, intent: str) -> None:
    dataset = Dataset([Example(text, intent or "A", line=1)])
    try:
        written = datasets.to_yaml(dataset)
    except UserError:
        return
    assert datasets.parse_yaml(written) == (dataset, [])


@pytest.mark.parametrize(
    "path", [path for path in OURS if path.suffix == ".yml"], ids=lambda path: path.name
)
def test_our_own_yaml_survives_json(path: Path) -> None:
    dataset = datasets.read(path)
    expected = RasaYAMLReader().read(path)
    assert datasets.to_training_data(dataset).fingerprint() == expected.fingerprint()
    through_json, problems = datasets.parse_json(datasets.to_json(dataset))
    assert problems == []
    again = RasaYAMLReader().reads(datasets.to_yaml(through_json))
    assert again.fingerprint() == expected.fingerprint()


def test_the_delivered_json_is_the_training_data() -> None:
    assert (ROOT / "data/dataset.json").read_text(encoding="utf-8") == datasets.to_json(
        datasets.read(ROOT / "data/nlu.yml")
    ), "run: bot dataset convert --force data/nlu.yml data/dataset.json"


def test_our_own_data_is_valid() -> None:
    labels = datasets.read_labels(ROOT / "domain.yml")
    assert {"nlu.yml", "lookups.yml", "dataset.json"} <= {path.name for path in OURS}
    for path in (*OURS, ROOT / "tests/data/heldout.yml"):
        problems = datasets.validate(datasets.read(path), labels)
        assert [str(problem) for problem in problems if problem.is_error] == []


def test_text_and_intent_are_enough() -> None:
    dataset, problems = datasets.parse_json(
        '{"version": 1, "examples": [{"text": "Bonjour", "intent": "HOW_ARE_YOU"}]}'
    )
    assert problems == []
    assert dataset.examples == [Example("Bonjour", "HOW_ARE_YOU")]
    assert datasets.to_yaml(dataset) == (
        'version: "3.1"\nnlu:\n- intent: HOW_ARE_YOU\n  examples: |\n    - Bonjour\n'
    )


def test_neighbours_share_a_block_and_the_order_is_kept() -> None:
    dataset = Dataset([Example("a", "X"), Example("b", "X"), Example("c", "Y"), Example("d", "X")])
    written = datasets.to_yaml(dataset)
    assert written.count("intent: X") == 2
    assert datasets.parse_yaml(written)[0] == dataset


def test_several_entities_of_one_span() -> None:
    entities = (Entity(0, 4, "person"), Entity(0, 4, "technology", "Java"))
    dataset = Dataset([Example("java", "WHO_IS", entities)])
    assert datasets.parse_yaml(datasets.to_yaml(dataset)) == (dataset, [])


# --- mistakes ---------------------------------------------------------------------------------


def lines_of(problems: list[datasets.Problem]) -> list[tuple[int, bool]]:
    return [(problem.line, problem.is_error) for problem in problems]


def delivered(*examples: object, **more: object) -> str:
    """Return a delivered file with its first example on line 4."""
    lines = ",\n".join(json.dumps(example, ensure_ascii=False) for example in examples)
    rest = "".join(f", {json.dumps(key)}: {json.dumps(value)}" for key, value in more.items())
    return f'{{\n"version": 1,\n"examples": [\n{lines}\n]{rest}}}'


GREETING = {"text": "Bonjour", "intent": "HOW_ARE_YOU"}
GREETING_AGAIN = {"text": "Salut", "intent": "HOW_ARE_YOU"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{\n"version": 1,\n"examples": [}', 3, "not JSON"),
        ("", 1, "not JSON"),
        ("[]", 1, "a dataset is an object"),
        ('{"examples": []}', 1, "no version"),
        ('{"version": 2, "examples": []}', 1, "version 2 is unknown"),
        ('{"version": true, "examples": []}', 1, "version True is unknown"),
        ('{"version": 1}', 1, "'examples' is a required property"),
        ("[" * 100_000, 1, "nested too deeply"),
        (delivered({"text": "a"}), 4, "examples[0]: 'intent' is a required property"),
        (delivered(GREETING, {"intent": "WHO_IS"}), 5, "examples[1]: 'text' is a required"),
        (delivered(GREETING, {"text": 3, "intent": "WHO_IS"}), 5, "examples[1].text: 3 is not"),
        (delivered(GREETING, {**GREETING, "label": "x"}), 5, "'label' was unexpected"),
        (delivered(GREETING, {"text": "a", "intent": " "}), 5, "examples[1].intent"),
        (delivered(GREETING, lookup={}), 1, "'lookup' was unexpected"),
        (
            '{"version": 1, "examples": [\n{"text": "a",\n"intent": "B", "text": "c"}]}',
            2,
            'the key "text" is given twice',
        ),
        (
            delivered(
                GREETING,
                {"text": "Paul", "intent": "A", "entities": [{"start": "0", "end": 4}]},
            ),
            5,
            "examples[1].entities[0]",
        ),
    ],
)
def test_unreadable_json(text: str, line: int, words: str) -> None:
    _, problems = datasets.parse_json(text)
    assert any(problem.line == line and words in problem.message for problem in problems), problems


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("nlu: [", 1, "not YAML"),
        ("version: '3.1'\n", 1, "no list under the key nlu"),
        ("nlu:\n- intent: A\n  examples: |\n    - a\n    b\n", 5, "begins with a dash"),
        ("nlu:\n- intent: A\n  examples: |\n    - a\n    - [b]{x}\n", 5, "wrong entity annotation"),
        ("nlu:\n- intent: A\n", 2, "there are no examples"),
        ("nlu:\n- intent: A\n  examples: []\n- word: B\n", 4, "exactly one of these keys"),
        ("nlu:\n- intent: 3\n  examples: |\n    - a\n", 2, "has no name"),
        ("nlu:\n- intent: A\n  examples:\n  - text: a\n  - b\n", 2, "has no text"),
        ("nlu: []\nresponses: {}\n", 2, '"responses" does not belong'),
    ],
)
def test_unreadable_yaml(text: str, line: int, words: str) -> None:
    _, problems = datasets.parse_yaml(text)
    assert any(problem.line == line and words in problem.message for problem in problems), problems


def person(start: int, end: int, **more: str) -> dict[str, object]:
    return {"start": start, "end": end, "entity": "person", **more}


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (GREETING, "duplicate of line 4"),
        ({"text": "Bonjour", "intent": "WHO_IS"}, "contradictory labels"),
        ({"text": "BONJOUR !", "intent": "WHO_IS"}, "contradictory labels"),
        ({"text": "", "intent": "WHO_IS"}, "the text is empty"),
        ({"text": " \n", "intent": "WHO_IS"}, "the text is empty"),
        ({"text": " Ici", "intent": "WHO_IS"}, "remove the space"),
        ({"text": "Qui ?", "intent": "WHO_S"}, "unknown intent WHO_S; did you mean WHO_IS?"),
        ({"text": "Qui ?", "intent": "nlu_fallback"}, "unknown intent nlu_fallback"),
        ({"text": "MaÃ«lys", "intent": "WHO_IS"}, "probably 'Maëlys'"),
        ({"text": "Ma\ufffdlys", "intent": "WHO_IS"}, "lost in a conversion"),
        ({"text": "Qui ?&nbsp;Ali", "intent": "WHO_IS"}, "HTML or an invisible character"),
        ({"text": "Qui est Al\u200bi", "intent": "WHO_IS"}, "is probably 'Qui est Ali'"),
        ({"text": "Alice", "intent": "WHO_IS", "entities": [person(0, 3)]}, "cuts a word: 'Ali'"),
        (
            {"text": "😀 Qui est Ali Ba?", "intent": "WHO_IS", "entities": [person(11, 17)]},
            "counted in UTF-16: in characters, 'Ali Ba' is at 10–16",
        ),
        (
            {"text": "😀😀 Qui est Ali ?", "intent": "WHO_IS", "entities": [person(13, 16)]},
            "cuts a word: 'i ?'",
        ),
        (
            {"text": "😀 Ali", "intent": "WHO_IS", "entities": [person(3, 6)]},
            "has 5 characters: '😀 Ali'; it was counted in UTF-16: in characters, 'Ali' is at 2–5",
        ),
        (
            {"text": "À é Zoé ?", "intent": "WHO_IS", "entities": [person(6, 10)]},
            "has 9 characters: 'À é Zoé ?'; it was counted in bytes of UTF-8",
        ),
        ({"text": "a\u0007b", "intent": "WHO_IS"}, "U+0007"),
        ({"text": "a\ud800b", "intent": "WHO_IS"}, "U+D800"),
        ({"text": "voir [x](y)", "intent": "WHO_IS"}, "square brackets"),
        ({"text": "Ali", "intent": "WHO_IS", "entities": [person(0, 4)]}, "has 3 characters"),
        ({"text": "Ali", "intent": "WHO_IS", "entities": [person(2, 2)]}, "is not inside"),
        ({"text": "Ali B", "intent": "WHO_IS", "entities": [person(0, 4)]}, "with a space"),
        ({"text": "Ali", "intent": "WHO_IS", "entities": [person(0, 3, value="")]}, "empty value"),
        (
            {"text": "Ali B C", "intent": "WHO_IS", "entities": [person(0, 5), person(4, 7)]},
            "overlaps",
        ),
        (
            {
                "text": "Ali",
                "intent": "WHO_IS",
                "entities": [{**person(0, 3), "entity": "persone"}],
            },
            "unknown entity persone; did you mean person?",
        ),
    ],
)
def test_each_mistake_is_named_on_its_line(example: dict[str, object], words: str) -> None:
    text = delivered(GREETING, GREETING_AGAIN, example, {"text": "Personne", "intent": "WHO_IS"})
    dataset, problems = datasets.parse_json(text)
    assert problems == []
    found = [problem for problem in datasets.validate(dataset, LABELS) if problem.is_error]
    assert [problem.line for problem in found] == [6]
    assert words in found[0].message


def test_variants_of_a_text_are_only_warned_about() -> None:
    dataset = Dataset([Example("Ça va ?", "HOW_ARE_YOU", line=1), Example("ca va", "HOW_ARE_YOU")])
    assert lines_of(datasets.validate(dataset, LABELS)) == [(0, False)]


def test_symbols_of_technologies_are_no_punctuation() -> None:
    texts = ["Qui connaît C ?", "Qui connaît C++ ?", "Qui connaît C# ?"]
    assert datasets.validate(Dataset([Example(text, "WHO_IS") for text in texts])) == []


def test_a_synonym_of_two_values_is_an_error() -> None:
    dataset = Dataset([], synonyms={"JavaScript": ["js"], "Jenkins": ["js"]})
    assert "both 'JavaScript' and 'Jenkins'" in datasets.validate(dataset)[0].message


def test_an_empty_dataset_is_an_error() -> None:
    assert lines_of(datasets.validate(Dataset())) == [(0, True)]


# --- files and the command line ---------------------------------------------------------------


def test_a_file_of_windows_1252_is_named_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_bytes(delivered(GREETING, {"text": "Maëlys", "intent": "WHO_IS"}).encode("cp1252"))
    with pytest.raises(datasets.DatasetError) as caught:
        datasets.read(path)
    general, particular = caught.value.problems
    assert "iconv -f WINDOWS-1252 -t UTF-8" in general.message
    assert particular.line == 5
    assert "0xEB" in particular.message
    assert "« ë »" in particular.message


def test_a_file_of_a_mac_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    text = delivered(GREETING, {"text": "Qui est Maëlys", "intent": "WHO_IS"})
    path.write_bytes(text.encode("mac_roman"))
    with pytest.raises(datasets.DatasetError, match="iconv -f MACINTOSH") as caught:
        datasets.read(path)
    assert "in Macintosh it is « ë »" in caught.value.problems[1].message
    path.write_bytes(text.replace("\n", "\r").encode())
    assert [example.line for example in datasets.read(path).examples] == [4, 5]


MARKDOWN = """<!-- of 2019 -->
## intent:WHO_IS
- qui est [Ali](person) ?
- et [k8s](technology:Kubernetes)

## synonym:Kubernetes
- kube

## lookup:person
- Zoé
## regex:postcode
- [0-9]{5}
"""


def test_formats_of_rasa_1_are_named_with_what_converts_them(tmp_path: Path) -> None:
    source, target = tmp_path / "nlu.md", tmp_path / "nlu.yml"
    source.write_text(MARKDOWN, encoding="utf-8")
    with pytest.raises(datasets.DatasetError, match=r"bot dataset convert nlu.md nlu.yml"):
        datasets.read(source)
    run = CliRunner().invoke(app, ["dataset", "convert", str(source), str(target)])
    assert run.exit_code == 0, run.output
    read = datasets.read(target)
    assert read.examples == [
        Example("qui est Ali ?", "WHO_IS", (Entity(8, 11, "person"),)),
        Example("et k8s", "WHO_IS", (Entity(3, 6, "technology", "Kubernetes"),)),
    ]
    assert (read.synonyms, read.lookups) == ({"Kubernetes": ["kube"]}, {"person": ["Zoé"]})
    assert read.regexes == {"postcode": ["[0-9]{5}"]}
    source.write_text(MARKDOWN + "## story\n* greet\n", encoding="utf-8")
    with pytest.raises(datasets.DatasetError, match=r"nlu.md:13: error: expected ## intent:NAME"):
        datasets.read_markdown(source)

    source, target = tmp_path / "old.json", tmp_path / "old.yml"
    entity = {"start": 8, "end": 11, "value": "Ali", "entity": "person"}
    example = {"text": "qui est Ali ?", "intent": "WHO_IS", "entities": [entity]}
    source.write_text(json.dumps({"rasa_nlu_data": {"common_examples": [example]}}))
    with pytest.raises(
        datasets.DatasetError, match=r"this is Rasa 1's JSON\. Convert it: "
    ) as found:
        datasets.read(source)
    command = found.value.problems[0].message.partition("Convert it: ")[2].split()
    rasa = Path(sys.executable).with_name(command[0])
    subprocess.run([rasa, *command[1:]], cwd=tmp_path, check=True, capture_output=True)
    assert datasets.read(target).examples == read.examples[:1]


def test_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    text = delivered(GREETING)
    path.write_bytes(text.encode("utf-8-sig"))
    assert len(datasets.read(path).examples) == 1
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(datasets.DatasetError, match="UTF-16"):
        datasets.read(path)


def test_command_line(tmp_path: Path) -> None:
    source, target = tmp_path / "a.json", tmp_path / "a.yml"
    source.write_text(delivered(GREETING, GREETING), encoding="utf-8")
    domain = tmp_path / "domain.yml"
    domain.write_text("intents: [HOW_ARE_YOU]\n", encoding="utf-8")
    run = CliRunner().invoke

    checked = run(app, ["dataset", "validate", str(source), "--domain", str(domain)])
    assert checked.exit_code == 1
    assert f"{source}:5: error: duplicate of line 4" in checked.output
    assert "1 errors, 0 warnings" in checked.output

    source.write_text(delivered(GREETING, GREETING_AGAIN), encoding="utf-8")
    assert run(app, ["dataset", "validate", str(source), "--domain", str(domain)]).exit_code == 0
    assert run(app, ["dataset", "convert", str(source), str(target)]).exit_code == 0
    kept = target.read_text(encoding="utf-8")
    refused = run(app, ["dataset", "convert", str(source), str(target)])
    assert isinstance(refused.exception, UserError)
    assert target.read_text(encoding="utf-8") == kept
    assert run(app, ["dataset", "convert", str(target), str(source), "--force"]).exit_code == 0
    assert datasets.read(source).examples == datasets.read(target).examples
    assert "HOW_ARE_YOU" in run(app, ["dataset", "stats", str(target)]).output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.yml", "domain.yml"]


def test_labels_that_differ_in_names_alone_are_warned_of() -> None:
    def example(text: str, intent: str, name: str, entity: str, line: int) -> Example:
        start = text.index(name)
        return Example(text, intent, (Entity(start, start + len(name), entity),), line=line)

    found = datasets.validate(
        Dataset(
            [
                example("Qui travaille à Lyon ?", "WHO_KNOWS_ABOUT", "Lyon", "agency", 1),
                example("qui travaille a Nantes", "OUT_OF_SCOPE", "Nantes", "agency", 2),
                example("Qui travaille à Java ?", "WHO_IS", "Java", "technology", 3),
                example("qui travaille à Lille", "WHO_KNOWS_ABOUT", "Lille", "agency", 4),
            ]
        )
    )
    [problem] = [problem for problem in found if "names alone" in problem.message]
    assert (problem.line, problem.is_error) == (2, False)
    assert "line 1" in problem.message


@pytest.mark.parametrize(
    ("few", "many", "warned"), [(5, 80, True), (30, 800, False), (5, 40, False)]
)
def test_an_intent_with_few_examples_beside_others_is_warned_of(
    few: int, many: int, warned: bool
) -> None:
    examples = [Example(f"un {n}", "FEW", line=n + 1) for n in range(few)]
    examples += [Example(f"deux {n}", "MANY", line=few + n + 1) for n in range(many)]
    found = [p for p in datasets.validate(Dataset(examples)) if "beside" in p.message]
    assert [(p.line, p.is_error) for p in found] == ([(1, False)] if warned else [])
