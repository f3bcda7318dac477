"""The offline encoder and the fetching of encoders."""

from __future__ import annotations

import hashlib
import http.server
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from typer.testing import CliRunner

from common.errors import UserError
from components import offline_encoder
from tests.support import ROOT

UNKNOWN = 3  # id of <unk>
SENTENCES = [
    "Qui est Maëlys Kerguelen ?",
    "Où est passée l'équipe « sécurité applicative » ?",
    "Tu connais quelqu'un qui s'y connaît en développement ?",
    "À qui dois-je m'adresser pour l'hébergement, s'il vous plaît ?",
    "ÇA VA ? Ça fait longtemps qu'on ne s'est pas vus…",
    "Ma sœur a déjà travaillé là-bas, près de l'hôpital.",
    "je cherche un developpeur confirme pour un projet a nantes",
]


@pytest.fixture(scope="session")
def built_encoder() -> Path:
    """The offline encoder where the product keeps it; built once, checked ever after."""
    folder = offline_encoder.ENCODERS_FOLDER / offline_encoder.OFFLINE_ENCODER
    offline_encoder.build(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(built_encoder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(built_encoder / "tokenizer.json"))


@pytest.fixture(scope="session")
def weights() -> offline_encoder.Weights:
    return offline_encoder.read_weights(offline_encoder._locate(offline_encoder.WEIGHTS))


@pytest.fixture(scope="session")
def full_tokenizer(weights: offline_encoder.Weights) -> Tokenizer:
    return offline_encoder.make_tokenizer(
        list(zip(weights.pieces, weights.scores.tolist(), strict=True))
    )


@pytest.fixture
def small_encoder(tmp_path: Path) -> Path:
    """A folder with a manifest and one small file."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": 384}')
    offline_encoder._write_manifest(folder, name="small", licence="MIT")
    return folder


# --- Q4_0 and the weights file -----------------------------------------------------------------


def q4_block(scale: float, values: list[int]) -> bytes:
    """Pack 32 values from -8 to 7 as the format defines it, one value at a time."""
    packed = bytes((values[i] + 8) | (values[i + 16] + 8) << 4 for i in range(16))
    return struct.pack("<e", scale) + packed


def test_dequantises_low_nibbles_first_then_high_ones() -> None:
    first = [*range(-8, 8), *range(7, -9, -1)]
    second = [0] * 15 + [7] + [-8] * 16
    values = offline_encoder.dequantise_q4_0(q4_block(0.5, first) + q4_block(-2.0, second))
    assert values.dtype == np.float32
    assert values.tolist() == [0.5 * value for value in first] + [-2.0 * value for value in second]


def test_refuses_half_a_block() -> None:
    with pytest.raises(ValueError, match="not a whole number of Q4_0 blocks"):
        offline_encoder.dequantise_q4_0(q4_block(1.0, [0] * 32)[:-1])


@pytest.mark.parametrize("size", [3, 40, 70, 1000, 5_000_000, 70_000_000])
def test_refuses_a_truncated_weights_file(weights: offline_encoder.Weights, size: int) -> None:
    with pytest.raises(ValueError, match="ends"):
        offline_encoder.read_weights(weights.data[:size])


def test_refuses_another_file_format() -> None:
    with pytest.raises(ValueError, match="not an E5S1 file"):
        offline_encoder.read_weights(b"GGUF" + bytes(100))


def test_weights_are_those_of_a_trained_network(weights: offline_encoder.Weights) -> None:
    tensors = offline_encoder.camembert_tensors(weights, [0, 5, 250001])
    assert tensors["roberta.embeddings.word_embeddings.weight"].shape == (3, 384)
    assert tensors["roberta.embeddings.position_embeddings.weight"].shape == (514, 384)
    assert tensors["roberta.encoder.layer.11.intermediate.dense.weight"].shape == (1536, 384)
    for name, values in tensors.items():
        assert np.isfinite(values).all(), name
        assert np.abs(values).max() < 20, name
        if "position" not in name:
            assert values.std() > 1e-4, name


def test_normalises_as_the_table_in_the_weights_file_says(weights: offline_encoder.Weights) -> None:
    normaliser = offline_encoder.make_tokenizer(
        [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    ).normalizer
    assert len(weights.normalisation) > 4000
    different = {
        character
        for character, replacement in weights.normalisation.items()
        if normaliser.normalize_str(f"|{character}|") != f"|{replacement}|"
    }
    assert different == set()


# --- the vocabulary ----------------------------------------------------------------------------


@pytest.mark.parametrize("sentence", SENTENCES)
def test_cuts_french_as_the_unpruned_vocabulary_does(
    sentence: str, tokenizer: Tokenizer, full_tokenizer: Tokenizer
) -> None:
    assert tokenizer.encode(sentence).tokens == full_tokenizer.encode(sentence).tokens


def test_cuts_common_french_words_as_the_unpruned_vocabulary_does(
    tokenizer: Tokenizer, full_tokenizer: Tokenizer
) -> None:
    french = offline_encoder._word_list(offline_encoder.FRENCH_WORDS)
    common = sorted(french, key=lambda word: -french[word])[:3000]
    spellings = [form for word in common for form in (word, word.capitalize(), f"d'{word}")]
    ours = tokenizer.encode_batch_fast(spellings)
    theirs = full_tokenizer.encode_batch_fast(spellings)
    other = [
        spelling
        for spelling, mine, full in zip(spellings, ours, theirs, strict=True)
        if mine.tokens != full.tokens
    ]
    assert len(other) <= 0.001 * len(spellings), other


@pytest.mark.parametrize(
    "word", ["Kubernetes", "Quéméneur", "Zébulon", "Wojciechowska", "OpenTelemetry", "C++", "k8s"]
)
def test_spells_unknown_words_in_smaller_pieces(word: str, tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode(word, add_special_tokens=False)
    assert len(encoding.ids) > 1
    assert UNKNOWN not in encoding.ids
    assert tokenizer.decode(encoding.ids) == word


def test_a_script_outside_the_vocabulary_is_unknown(tokenizer: Tokenizer) -> None:
    assert UNKNOWN in tokenizer.encode("こんにちは").ids


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("Qui\u00a0est\u202fPaul\u00a0?", "Qui est Paul ?"),
        ("  Qui est\t\nPaul ?  ", "Qui est Paul ?"),
        ("Qui e\u0301tait Mae\u0308lys", "Qui était Maëlys"),
        ("Qui est\x00 \x07Paul ?", "Qui est\x00 Paul ?"),
    ],
)
def test_white_space_and_composition_make_no_difference(
    text: str, same_as: str, tokenizer: Tokenizer
) -> None:
    assert tokenizer.encode(text).ids == tokenizer.encode(same_as).ids


def test_frames_sentences_and_pairs(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("oui").tokens == ["<s>", "▁oui", "</s>"]
    assert tokenizer.encode("oui", "non").tokens == ["<s>", "▁oui", "</s>", "</s>", "▁non", "</s>"]
    assert tokenizer.encode("").tokens == ["<s>", "</s>"]
    assert tokenizer.token_to_id("<pad>") == 1
    assert tokenizer.token_to_id("<mask>") == tokenizer.get_vocab_size() - 1


# --- the whole encoder -------------------------------------------------------------------------


def embed(folder: Path, sentences: list[str]) -> np.ndarray:
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    assert model.dtype == torch.float32
    tokens = AutoTokenizer.from_pretrained(folder)(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    mean = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1).numpy()


def test_related_sentences_are_nearer_than_unrelated_ones(built_encoder: Path) -> None:
    pairs = [
        ("Qui s'y connaît en bases de données ?", "Je cherche un expert PostgreSQL."),
        ("Quel temps fera-t-il demain ?", "Est-ce qu'il va pleuvoir ce week-end ?"),
        ("Bonjour, comment vas-tu ?", "Salut, ça va bien ?"),
        ("Comment poser des congés ?", "À qui demander mes jours de vacances ?"),
        ("Une recette de gâteau au chocolat", "Comment faire un dessert avec du cacao ?"),
    ]
    left = embed(built_encoder, [one for one, _ in pairs])
    right = embed(built_encoder, [other for _, other in pairs])
    assert (left @ right.T).argmax(1).tolist() == list(range(len(pairs)))


def test_loads_as_a_camembert_classifier(built_encoder: Path) -> None:
    from transformers import AutoTokenizer, CamembertForSequenceClassification

    model, report = CamembertForSequenceClassification.from_pretrained(
        built_encoder, num_labels=3, output_loading_info=True
    )
    # Only the new classification head is not in the file.
    assert {name.split(".")[0] for name in report["missing_keys"]} == {"classifier"}
    assert not report["unexpected_keys"]
    tokens = AutoTokenizer.from_pretrained(built_encoder)("Qui est Paul ?", return_tensors="pt")
    assert model(**tokens).logits.shape == (1, 3)


def test_builds_the_expected_bytes_and_once_only(tmp_path: Path) -> None:
    folder = tmp_path / "encoders" / "built"
    steps: list[tuple[str, float]] = []
    assert offline_encoder.build(folder, lambda step, done: steps.append((step, done)))
    assert [done for _, done in steps] == sorted(done for _, done in steps)
    assert steps[-1][1] == 1.0
    for name, expected in offline_encoder.EXPECTED_SHA256.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
    assert {path.name for path in folder.parent.iterdir()} == {"built"}
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert not offline_encoder.build(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    (folder / "tokenizer.json").write_text("{}")
    assert not offline_encoder.is_built(folder)


def test_an_unexpected_result_is_not_kept(
    small_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(offline_encoder.EXPECTED_SHA256, "config.json", "0" * 64)
    with pytest.raises(UserError, match=r"config\.json.*requirements\.lock"):
        offline_encoder.build(small_encoder)
    assert offline_encoder.verify(small_encoder)["name"] == "small"
    assert list(small_encoder.parent.iterdir()) == [small_encoder]


def test_leaves_other_folders_alone(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("three years of work")
    with pytest.raises(UserError, match="was not made by `bot encoder`"):
        offline_encoder.build(tmp_path)
    assert precious.read_text() == "three years of work"


def test_says_which_package_is_missing() -> None:
    source = offline_encoder._Source("no-such-package-anywhere", "1.0", "data.bin", "")
    with pytest.raises(UserError, match=r"pip install 'no-such-package-anywhere==1\.0'"):
        offline_encoder._locate(source)


def test_says_when_a_package_has_another_version_or_content() -> None:
    words = offline_encoder.FRENCH_WORDS
    with pytest.raises(UserError, match=r"made from pyspellchecker 0\.0\.1"):
        offline_encoder._locate(
            offline_encoder._Source(words.package, "0.0.1", words.path, words.sha256)
        )
    with pytest.raises(UserError, match="not the file that"):
        offline_encoder._locate(
            offline_encoder._Source(words.package, words.version, words.path, "0" * 64)
        )


# --- where encoders are kept -------------------------------------------------------------------


def test_encoders_of_a_checkout_are_in_it_wherever_it_is_called_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert offline_encoder.encoders_folder({}, ROOT) == ROOT / "models" / "encoders"


def test_encoders_of_an_installed_package_are_in_the_cache_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    installed = tmp_path / "site-packages" / "skills_bot"
    assert offline_encoder.encoders_folder({}, installed) == tmp_path / ".cache/skills-bot/encoders"
    cache = {"XDG_CACHE_HOME": "/elsewhere"}
    assert offline_encoder.encoders_folder(cache, installed) == Path(
        "/elsewhere/skills-bot/encoders"
    )


@pytest.mark.parametrize("root", [ROOT, Path("/usr/lib/python3/site-packages/skills_bot")])
def test_a_variable_names_another_folder_of_encoders(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {offline_encoder.FOLDER_VARIABLE: "~/encoders", "XDG_CACHE_HOME": "/elsewhere"}
    assert offline_encoder.encoders_folder(environ, root) == tmp_path / "encoders"


# --- manifests ---------------------------------------------------------------------------------


def test_an_intact_encoder_passes(small_encoder: Path) -> None:
    assert offline_encoder.verify(small_encoder)["name"] == "small"


def test_names_every_damaged_file(small_encoder: Path) -> None:
    for name in ("missing", "longer", "changed"):
        (small_encoder / name).write_text("before")
    offline_encoder._write_manifest(small_encoder, name="small", licence="MIT")
    (small_encoder / "missing").unlink()
    (small_encoder / "longer").write_text("before and after")
    (small_encoder / "changed").write_text("behind")
    with pytest.raises(UserError) as error:
        offline_encoder.verify(small_encoder)
    for part in ("missing is missing", "longer has 16 bytes instead of 6", "changed has another"):
        assert part in str(error.value)
    assert "config.json" not in str(error.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 3}', "\x00\x01"])
def test_refuses_a_broken_manifest(small_encoder: Path, content: str) -> None:
    (small_encoder / offline_encoder.MANIFEST).write_text(content)
    with pytest.raises(UserError, match="Make the encoder again"):
        offline_encoder.verify(small_encoder)


def test_command_line(small_encoder: Path, tmp_path: Path) -> None:
    from bot.cli.encoder import app

    runner = CliRunner()
    result = runner.invoke(app, ["verify", str(small_encoder)])
    assert result.exit_code == 0
    assert "intact (small, licence MIT)" in result.output
    result = runner.invoke(app, ["verify", str(tmp_path / "nowhere")])
    assert isinstance(result.exception, UserError)
    assert "bot encoder build" in str(result.exception)


# --- the model hub -----------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB_FILES = {
    "config.json": b'{"model_type": "camembert"}',
    "model.safetensors": struct.pack("<Q", 2) + b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
    "tokenizer_config.json": b"{}",
    "pytorch_model.bin": b"pickled code",
    "modeling_evil.py": b"raise SystemExit",
}


class _Hub(http.server.BaseHTTPRequestHandler):
    """The few routes of the model hub that a download uses."""

    server: _HubServer

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        self.server.asked.append(path)
        owner_and_name = "almanach/camembert-base"
        # The library percent-encodes the slash in some routes and not in others.
        path = path.replace("%2F", "/")
        if path == f"/api/models/{owner_and_name}/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in self.server.files.items()
            ]
            return self._send(200, json.dumps(tree).encode(), body, {})
        if path.startswith(f"/api/models/{owner_and_name}"):
            revision = path.rpartition("/revision/")[2] if "/revision/" in path else "main"
            if revision not in ("main", "v1", COMMIT):
                return self._send(404, b"{}", body, {"X-Error-Code": "RevisionNotFound"})
            info = {
                "id": owner_and_name,
                "modelId": owner_and_name,
                "sha": COMMIT,
                "cardData": {"license": "mit"},
                "siblings": [{"rfilename": name} for name in self.server.files],
                "tags": [],
            }
            return self._send(200, json.dumps(info).encode(), body, {})
        prefix = f"/{owner_and_name}/resolve/{COMMIT}/"
        if path.startswith(prefix) and path.removeprefix(prefix) in self.server.files:
            content = self.server.files[path.removeprefix(prefix)]
            etag = hashlib.sha256(content).hexdigest()
            return self._send(200, content, body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        return self._send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, content: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


class _HubServer(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hub)
        self.files = dict(HUB_FILES)
        self.asked: list[str] = []


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[_HubServer]:
    server = _HubServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    _use_hub(monkeypatch, tmp_path, f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _use_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str) -> None:
    """Point huggingface_hub, which reads its environment once on import, at another address."""
    from huggingface_hub import constants, hf_api

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(hf_api.api, "endpoint", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_fetches_what_training_needs_and_pins_it(hub: _HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "encoders" / "camembert-base"
    assert offline_encoder.fetch("almanach/camembert-base", folder, "v1")
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "encoder.json",
    }
    manifest = offline_encoder.verify(folder)
    assert manifest["name"] == "almanach/camembert-base"
    assert manifest["revision"] == COMMIT
    assert manifest["licence"] == "mit"
    assert (folder / "model.safetensors").read_bytes() == HUB_FILES["model.safetensors"]
    downloads = [path for path in hub.asked if "/resolve/" in path]
    assert not offline_encoder.fetch("almanach/camembert-base", folder)
    assert [path for path in hub.asked if "/resolve/" in path] == downloads
    # A damaged copy is fetched again.
    (folder / "config.json").write_text("{")
    assert offline_encoder.fetch("almanach/camembert-base", folder)
    assert offline_encoder.verify(folder)


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("almanach/no-such-model", None, "has no almanach/no-such-model"),
        ("almanach/camembert-base", "v99", "has no revision v99"),
        ("not a name", None, "write owner/model"),
    ],
)
def test_says_what_the_hub_does_not_have(
    hub: _HubServer, tmp_path: Path, name: str, revision: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        offline_encoder.fetch(name, tmp_path / "fetched", revision)
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize(
    ("absent", "message"),
    [("model.safetensors", "no safetensors weights"), ("tokenizer.json", "lacks tokenizer.json")],
)
def test_refuses_models_that_cannot_be_served(
    hub: _HubServer, tmp_path: Path, absent: str, message: str
) -> None:
    del hub.files[absent]
    with pytest.raises(UserError, match=message):
        offline_encoder.fetch("almanach/camembert-base", tmp_path / "fetched")
    assert not any("/resolve/" in path for path in hub.asked)


def test_says_what_to_do_without_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_encoder: Path
) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Hub) as server:
        address = f"http://127.0.0.1:{server.server_port}"
    _use_hub(monkeypatch, tmp_path, address)  # nobody listens there any more
    with pytest.raises(UserError) as error:
        offline_encoder.fetch("almanach/camembert-base", small_encoder)
    assert address in str(error.value)
    assert "bot encoder build" in str(error.value)
    assert offline_encoder.verify(small_encoder)["name"] == "small"
