"""Texts as points: latent semantic analysis, for clusters and distances where there is no model.

TF-IDF of single words (sublinear counts, unit rows), then the first singular vectors (Deerwester et al. 1990) by a
randomised range finder (Halko, Martinsson and Tropp 2011, arXiv:0909.4061, algorithm 5.1 with two power iterations).
Numpy only. Left out: embeddings of a network (`models/features.py` has them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .root_verbs import ENDS, NO_VERBS
from .words import words_of

Points = NDArray[np.float64]
MOST_WORDS = 20_000
OVERSAMPLED = 10
POWER_ITERATIONS = 2
GRAMMAR = ENDS | NO_VERBS
"""Words that tell no subject."""
STOP_SHARE = 0.5
"""A word that stands in a larger share of the texts tells none of them apart."""


class TextSpace(NamedTuple):
    """Texts as unit rows of a sparse matrix over words."""

    words: tuple[str, ...]
    values: NDArray[np.float64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    num_texts: int

    def times(self, other: Points) -> Points:
        """(N, W) @ (W, d) -> (N, d)."""
        return _product(self.values, self.rows, self.columns, other, self.num_texts)

    def transposed_times(self, other: Points) -> Points:
        """(W, N) @ (N, d) -> (W, d)."""
        return _product(self.values, self.columns, self.rows, other, len(self.words))


def text_space(texts: Sequence[str]) -> TextSpace:
    """Raises ValueError where no word stands in two texts."""
    counts = [Counter(words_of(text)) for text in texts]
    frequency = Counter(word for text in counts for word in text)
    limit = max(2.0, STOP_SHARE * len(texts))
    words = [word for word, n in frequency.most_common() if 1 < n <= limit and _tells(word)][:MOST_WORDS]
    if not words:
        raise ValueError(f"the {len(texts)} texts share no word that tells them apart")
    index = {word: i for i, word in enumerate(words)}
    entries = [(i, index[word], n) for i, text in enumerate(counts) for word, n in text.items() if word in index]
    rows, columns, number = (np.array(part, dtype=np.int64) for part in zip(*entries, strict=True))
    idf = np.log(len(texts) / np.array([frequency[word] for word in words])) + 1
    values = (1 + np.log(number)) * idf[columns]
    norms = np.sqrt(np.bincount(rows, values**2, len(texts)))
    return TextSpace(tuple(words), values / norms[rows], rows, columns, len(texts))


def leading_directions(space: TextSpace, dimensions: int, seed: int = 0) -> Points:
    """(N, d): the texts in the d leading singular directions, d at most `dimensions`; signs are fixed."""
    d = min(dimensions, space.num_texts, len(space.words))
    width = min(d + OVERSAMPLED, space.num_texts, len(space.words))
    found = space.times(np.random.default_rng(seed).standard_normal((len(space.words), width)))
    for _ in range(POWER_ITERATIONS):
        q, _ = np.linalg.qr(found)
        found = space.times(space.transposed_times(q))
    q, _ = np.linalg.qr(found)
    u, sizes, vectors = np.linalg.svd(space.transposed_times(q).T, full_matrices=False)
    signs = np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(1)])
    return (q @ u * sizes * signs)[:, :d]


def telling_words(space: TextSpace, labels: NDArray[np.int64], number: int) -> list[list[str]]:
    """For each label of `labels` (N,), from 0, the words whose mean weight in its texts most exceeds that in all."""
    members = np.zeros((space.num_texts, int(labels.max()) + 1))
    members[np.arange(space.num_texts), labels] = 1
    sums = space.transposed_times(members)  # (W, k)
    more = sums / members.sum(0) - sums.sum(1, keepdims=True) / space.num_texts
    best = np.argsort(-more, axis=0, kind="stable")[:number]
    return [[space.words[i] for i in column if more[i, k] > 0] for k, column in enumerate(best.T)]


def _tells(word: str) -> bool:
    return word not in GRAMMAR and not word.isdigit()


def _product(
    values: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64], other: Points, height: int
) -> Points:
    found = [np.bincount(rows, values * other[columns, j], height) for j in range(other.shape[1])]
    return np.stack(found, axis=1)
