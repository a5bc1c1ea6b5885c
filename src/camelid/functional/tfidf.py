"""A bag-of-words preference model: the floor that a reward model must beat before it may claim to have learned to read.

Torch-free. Bradley-Terry on TF-IDF differences: P(first better) = sigmoid(w . (x_first - x_second)).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

MAX_TERMS = 20_000


def terms(text: str) -> Counter[str]:
    """Words, punctuation marks and pairs of neighbours in a text, lower case, with how often each stands there."""
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    return Counter(words) + Counter(f"{a} {b}" for a, b in pairwise(words))


def _vectors(texts: Sequence[Counter[str]], index: dict[str, int], idf: np.ndarray) -> np.ndarray:
    matrix = np.zeros((len(texts), len(index)), dtype=np.float32)
    for row, counts in zip(matrix, texts, strict=True):
        for term, count in counts.items():
            if term in index:
                row[index[term]] = 1 + np.log(count)
    matrix *= idf
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(norms == 0, 1, norms)


def tfidf_wins(
    train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]], *, penalty: float = 0.1, iterations: int = 25
) -> list[float]:
    """For each test pair (chosen, rejected): 1 where the model fitted on `train` ranks it right, 0.5 at a tie, else 0.

    Words and word pairs, sublinear counts, unit vectors, ridge penalty; fitted by Newton's method on the dual, whose
    size is the number of training pairs and not of words: with differences D, w = D^T a and margins D w = (D D^T) a.
    """
    counts = [(terms(a), terms(b)) for a, b in train]
    frequency = Counter(term for pair in counts for text in pair for term in text)
    index = {term: i for i, (term, count) in enumerate(frequency.most_common(MAX_TERMS)) if count > 1}
    idf = np.log(2 * len(train) / np.array([frequency[term] for term in index])) + 1
    differences = _vectors([a for a, _ in counts], index, idf) - _vectors([b for _, b in counts], index, idf)

    # Minimise sum log(1 + exp(-m)) + penalty / 2 a^T K a with m = K a:
    # Newton solves (W K + penalty I) step = gradient / K.
    kernel = (differences @ differences.T).astype(np.float64)
    dual = np.zeros(len(train))
    for _ in range(iterations):
        wrong = 1 / (1 + np.exp(np.clip(kernel @ dual, -50, 50)))  # sigmoid(-margin)
        curvature = wrong * (1 - wrong)
        system = curvature[:, None] * kernel + penalty * np.eye(len(train))
        step = np.linalg.solve(system, wrong - penalty * dual)
        dual += step
        if np.abs(step).max() < 1e-8:
            break
    weights = differences.T @ dual

    tests = [(terms(a), terms(b)) for a, b in test]
    margins = (_vectors([a for a, _ in tests], index, idf) - _vectors([b for _, b in tests], index, idf)) @ weights
    return [0.5 if m == 0 else float(m > 0) for m in margins]
