"""A bag-of-words classifier of texts: the floor under every judge of single answers, and a check on rules.

Words and word pairs, sublinear counts, unit vectors, logistic regression with a ridge; sparse, so that tens of
thousands of texts take seconds. `tfidf.py` has its counterpart for pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .logistic import Linear, fit_logistic
from .tfidf import MAX_TERMS, terms


class SparseRows(NamedTuple):
    """A matrix by its non-zero entries; `x @ w` and `x.T @ r` for vectors."""

    values: NDArray[np.float64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    shape: tuple[int, int]

    def __matmul__(self, other: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self.rows, self.values * other[self.columns], self.shape[0]).astype(np.float64)

    @property
    def T(self) -> SparseRows:
        return SparseRows(self.values, self.columns, self.rows, self.shape[::-1])


class TextClassifier(NamedTuple):
    """Terms with their weights, fitted by `fit_text_classifier`."""

    columns: dict[str, int]
    idf: NDArray[np.float64]
    linear: Linear

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """P(true) of each text; of one without a known term it is what the intercept says."""
        return self.linear.probabilities(_vectors([terms(text) for text in texts], self.columns, self.idf))


def fit_text_classifier(
    texts: Sequence[str], labels: Sequence[bool], *, penalty: float = 1.0, max_terms: int = MAX_TERMS
) -> TextClassifier:
    """Fitted on texts with their labels. Terms that stand in one text only are left out.

    idf = log(n / (texts with the term)) + 1; penalty as in `fit_logistic`.
    """
    counts = [terms(text) for text in texts]
    frequency = Counter(term for text in counts for term in text)
    kept = [(term, count) for term, count in frequency.most_common(max_terms) if count > 1]
    if not kept:
        raise ValueError(f"the {len(texts)} texts share no word: nothing to learn from")
    index = {term: i for i, (term, _) in enumerate(kept)}
    idf = np.log(len(texts) / np.array([count for _, count in kept])) + 1
    x = _vectors(counts, index, idf)
    return TextClassifier(index, idf, fit_logistic(x, np.asarray(labels, dtype=bool), penalty=penalty))


def _vectors(texts: Sequence[Counter[str]], index: dict[str, int], idf: NDArray[np.float64]) -> SparseRows:
    entries = [
        (row, index[term], count) for row, text in enumerate(texts) for term, count in text.items() if term in index
    ]
    rows, columns, counts = (
        (np.array(part, dtype=np.int64) for part in zip(*entries, strict=True))
        if entries
        else [np.zeros(0, np.int64)] * 3
    )
    values = (1 + np.log(counts)) * idf[columns]
    norms = np.sqrt(np.bincount(rows, values**2, len(texts)))
    return SparseRows(values / norms[rows], rows, columns, (len(texts), len(index)))
