"""Character n-grams beside the network: what letters tell that word pieces do not.

A logistic regression over the n-grams of the folded text. Its logits are averaged with those of the
network: a typo breaks a word into pieces that the encoder hardly knows, but leaves most n-grams.
``benchmarks/recipes.md`` has what it gains. Serving needs numpy alone.
"""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.text import fold

_SIZES = range(2, 6)
# Letters after which a text is cut.
_LONGEST = 1000
# Weight of the loss over that of the penalty, as ``C`` of scikit-learn's LogisticRegression.
_FREEDOM = 100.0
_STEPS = 100


@dataclasses.dataclass(frozen=True)
class NGrams:
    """A fitted regression.

    Attributes:
        rows: The row of each n-gram in the arrays.
        rarity: float32, n-grams; inverse document frequency.
        weights: float32, n-grams x classes.
        bias: float32, classes.
    """

    rows: dict[str, int]
    rarity: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the logits, float64, texts x classes."""
        found = np.tile(self.bias.astype(float), (len(texts), 1))
        for index, text in enumerate(texts):
            rows, values = _features(text, self.rows, self.rarity)
            found[index] += values @ self.weights[rows]
        return found

    def dump(self) -> bytes:
        """Return an ``.npz`` file; the weights lose the precision beyond float16."""
        file = io.BytesIO()
        np.savez_compressed(
            file,
            ngrams=np.array(list(self.rows)),
            rarity=self.rarity,
            weights=self.weights.astype(np.float16),
            bias=self.bias,
        )
        return file.getvalue()


def read(path: Path) -> NGrams:
    """Read what :meth:`NGrams.dump` returned, from a file."""
    with np.load(path) as arrays:
        rows = {ngram: row for row, ngram in enumerate(arrays["ngrams"].tolist())}
        weights = arrays["weights"].astype(np.float32)
        return NGrams(rows, arrays["rarity"], weights, arrays["bias"])


def fit(texts: Sequence[str], classes: Sequence[int]) -> NGrams:
    """Fit the regression; every class weighs the same.

    Args:
        texts: Training sentences.
        classes: The number of the class of each sentence, 0 to the number of classes - 1.
    """
    import torch
    from torch.nn import functional

    documents = Counter(ngram for text in texts for ngram in _ngrams(text))
    rows = {ngram: row for row, ngram in enumerate(sorted(documents))}
    counts = np.array([documents[ngram] for ngram in rows])
    rarity = (np.log((1 + len(texts)) / (1 + counts)) + 1).astype(np.float32)
    features = [_features(text, rows, rarity) for text in texts]
    starts = np.cumsum([0, *(len(found) for found, _ in features[:-1])])
    flat, values = (np.concatenate(parts) for parts in zip(*features, strict=True))
    bags = (torch.from_numpy(flat), torch.from_numpy(starts), torch.from_numpy(values))

    targets = torch.tensor(classes)
    sizes = torch.bincount(targets).float()
    shares = _FREEDOM * (len(texts) / len(sizes) / sizes)[targets]
    weights = torch.zeros(len(rows), len(sizes), requires_grad=True)
    bias = torch.zeros(len(sizes), requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weights, bias], max_iter=_STEPS, tolerance_grad=1e-3, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = bias + functional.embedding_bag(
            bags[0], weights, bags[1], mode="sum", per_sample_weights=bags[2]
        )
        total = (shares * functional.cross_entropy(logits, targets, reduction="none")).sum()
        total = total + weights.square().sum() / 2
        total.backward()
        return total

    optimiser.step(loss)
    return NGrams(rows, rarity, weights.detach().numpy(), bias.detach().numpy())


def _ngrams(text: str) -> set[str]:
    folded = f" {' '.join(fold(text[:_LONGEST]).split())} "
    return {
        folded[begin : begin + size] for size in _SIZES for begin in range(len(folded) - size + 1)
    }


def _features(text: str, rows: dict[str, int], rarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a text's known n-grams, and their values, a vector of length 1."""
    known = np.array([rows[ngram] for ngram in _ngrams(text) if ngram in rows], dtype=np.int64)
    known.sort()  # the order of a set is another in every process
    values = rarity[known]
    return known, values / max(float(np.linalg.norm(values)), 1e-9)
