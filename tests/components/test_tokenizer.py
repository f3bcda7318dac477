from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasa.nlu.constants import TOKENS_NAMES
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.constants import TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from components.tokenizer import FrenchTokenizer, token_spans, without_markup

ODD_TEXTS = [
    " ",
    "\n\t ",
    "!!! ??? ...",
    "😀",
    "👩‍💻👨🏽‍🔧 qui connaît Java",
    "\x00\x01\x07",
    "مرحبا بالعالم",
    "שלום Python",
    "'; DROP TABLE collaborators; --",
    "<script>alert('x')</script>",
    "d'",
    "''''",
    "...net",
    "@@@@",
    "e\u0301" * 50,
]


def tokenizer(**config: Any) -> FrenchTokenizer:
    return FrenchTokenizer({**FrenchTokenizer.get_default_config(), **config})


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in token_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Qui connaît C++, C# et F# ?", ["Qui", "connaît", "C++", "C#", "et", "F#"]),
        ("du .NET ou ASP.NET", ["du", ".NET", "ou", "ASP.NET"]),
        ("Node.js/React", ["Node.js", "React"]),
        ("CI/CD, k8s.", ["CI/CD", "k8s"]),
        ("Python 3.11.", ["Python", "3.11"]),
        ("C++20 et c#?", ["C++20", "et", "c#"]),
        ("C/C++", ["C", "C++"]),
        ("C ++ ou c #", ["C ++", "ou", "c #"]),
        ("PL/SQL Java/Kotlin", ["PL/SQL", "Java", "Kotlin"]),
        ("Jean-François O'Brien", ["Jean-François", "O'Brien"]),
        ("écris à a.b+c@ex-ample.fr!", ["écris", "à", "a.b+c@ex-ample.fr"]),
        ("voir https://exemple.fr/a?b=1.", ["voir", "https://exemple.fr/a?b=1"]),
        ("Python.Merci", ["Python", "Merci"]),
        ("stp:) 😀", ["stp"]),
        ("17.x v3.11 1,5", ["17.x", "v3.11", "1,5"]),
    ],
)
def test_names_of_technologies_and_people_stay_whole(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize("apostrophe", ["'", "’", "´", "`"])
@pytest.mark.parametrize(
    "elided", ["l", "d", "qu", "j", "s", "c", "n", "m", "t", "L", "Qu", "jusqu"]
)
def test_elisions_are_words_of_their_own(elided: str, apostrophe: str) -> None:
    text = f"{elided}{apostrophe}Angular"
    assert words(text) == [elided + apostrophe, "Angular"]


def test_elision_in_front_of_a_dot() -> None:
    assert words("qu'.NET") == ["qu'", ".NET"]


@pytest.mark.parametrize("word", ["aujourd'hui", "quelqu'un", "prud'homme", "Marie-Ange", "est-ce"])
def test_apostrophes_and_hyphens_inside_a_word_stay(word: str) -> None:
    assert words(word) == [word]


def test_the_pronoun_of_an_inversion_is_a_word() -> None:
    assert words("Connaît-il Docker ? Existe-t-elle ?") == [
        *["Connaît", "il", "Docker", "Existe", "t", "elle"]
    ]


def test_a_decomposed_letter_does_not_split_a_word() -> None:
    assert words("Mae\u0308lys Kerguelen") == ["Mae\u0308lys", "Kerguelen"]


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_offsets_are_exact_ordered_and_disjoint(text: str) -> None:
    message = Message({TEXT: text})
    tokenizer().process([message])
    tokens = message.get(TOKENS_NAMES[TEXT])
    assert tokens
    for token in tokens:
        assert text[token.start : token.end] == token.text
    for token, following in pairwise(tokens):
        assert token.end <= following.start


@given(st.text(alphabet="aé1 .-_'’/&+#@:", max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_letter_is_lost(text: str) -> None:
    covered = {index for start, end in token_spans(text) for index in range(start, end)}
    assert all(index in covered for index, char in enumerate(text) if char.isalnum())


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_texts_have_tokens(text: str) -> None:
    message = Message({TEXT: text})
    tokenizer().process([message])
    assert message.get(TOKENS_NAMES[TEXT])


def test_empty_and_missing_texts() -> None:
    messages = [Message({TEXT: ""}), Message({TEXT: None}), Message({})]
    tokenizer().process(messages)
    for message in messages:
        assert message.get(TEXT) == ""
        assert [token.text for token in message.get(TOKENS_NAMES[TEXT])] == [""]


@pytest.mark.parametrize("piece", ["a", "+", "a-", "a.", ".a", "a@", "a@b.", "l'", "aa ", "www./"])
def test_a_huge_text_is_cut_after_max_tokens(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    tokens = tokenizer(max_tokens=50).tokenize(Message({TEXT: text}), TEXT)
    assert 1 <= len(tokens) <= 50
    unlimited = tokenizer(max_tokens=None).tokenize(Message({TEXT: text}), TEXT)
    assert len(unlimited) >= len(tokens)


def test_batch_equals_single() -> None:
    texts = ["Qui connaît C++ ?", *ODD_TEXTS, ""]
    batch = [Message({TEXT: text}) for text in texts]
    tokenizer().process(batch)
    for text, message in zip(texts, batch, strict=True):
        alone = Message({TEXT: text})
        tokenizer().process([alone])
        assert alone.get(TOKENS_NAMES[TEXT]) == message.get(TOKENS_NAMES[TEXT])


def test_training_data_and_intents_are_tokenised() -> None:
    message = Message({TEXT: "du .NET", "intent": "WHO_KNOWS_ABOUT"})
    tokenizer(intent_tokenization_flag=True).process_training_data(TrainingData([message]))
    assert [token.text for token in message.get(TOKENS_NAMES[TEXT])] == ["du", ".NET"]
    assert [token.text for token in message.get(TOKENS_NAMES["intent"])] == [
        "WHO",
        "KNOWS",
        "ABOUT",
    ]


def test_token_pattern_splits_further() -> None:
    tokens = tokenizer(token_pattern="[A-Z]|[a-z]+").tokenize(Message({TEXT: "un DevOps"}), TEXT)
    assert [(token.text, token.start) for token in tokens] == [
        *[("un", 0), ("D", 3), ("ev", 4), ("O", 6), ("ps", 7)]
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"max_token": 10}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"intent_tokenization_flag": "yes"}, "intent_tokenization_flag"),
    ],
)
def test_wrong_configurations_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigException, match=message):
        tokenizer(**config)


def test_a_change_of_the_module_changes_the_fingerprint() -> None:
    addon = FrenchTokenizer.fingerprint_addon({})
    assert addon is not None
    assert "_TOKEN" in addon


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<at>Bot</at> qui connaît Docker ?", "qui connaît Docker ?"),
        ('<at id="0">Le bot</at>, qui', ", qui"),
        ("<@U123ABC> qui connaît C# ?", "qui connaît C# ?"),
        ("@assistant qui", "qui"),
        ("qui&nbsp;connaît&nbsp;l&#39;IA", "qui connaît l'IA"),
        ("conna&icirc;t&nbsp;R&amp;D", "connaît R&D"),
        ("<p>Qui est <b>Paul</b> ?</p><br/>", "Qui est Paul ?"),
        ("a<b et c>d, R&D; a@b.fr", "a<b et c>d, R&D; a@b.fr"),
        ("[Docker](https://www.docker.com) à Lyon", "Docker à Lyon"),
        ("<mailto:a@b.fr|a@b.fr> <https://a.b/c|C#>", "a@b.fr C#"),
        ("_Kotlin_ ou **C++**, `Go`", "Kotlin ou C++ , Go"),
        ("mon_fichier_x 2*3*4 [non]", "mon_fichier_x 2*3*4 [non]"),
        ('/WHO_IS{"person": "<b>"}', '/WHO_IS{"person": "<b>"}'),
    ],
)
def test_markup_of_chat_programs_is_taken_out(text: str, expected: str) -> None:
    clean = without_markup(text)
    assert " ".join(clean.split()) == expected
    assert len(clean) == len(text)


def test_offsets_stay_where_markup_was() -> None:
    text = "<at>Bot</at> qui&nbsp;connaît Docker"
    [message] = tokenizer().process([Message({TEXT: text})])
    assert [text[t.start : t.end] for t in message.get(TOKENS_NAMES[TEXT])] == [
        "qui",
        "connaît",
        "Docker",
    ]
