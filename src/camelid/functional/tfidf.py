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
MAX_PAIRS = 3_000
"""Of more training pairs so many are drawn: the fit takes time in the cube of their number and memory in the square."""
BLOCK = 1_000
"""Test pairs held as vectors at once."""


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
    train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]], *, penalty: float = 1.0, iterations: int = 25
) -> list[float]:
    """For each test pair (chosen, rejected): 1 where the model fitted on `train` ranks it right, 0.5 at a tie, else 0.

    Words and word pairs, sublinear counts, unit vectors, ridge penalty; fitted by Newton's method on the dual, whose
    size is the number of training pairs and not of words: with differences D, w = D^T a and margins D w = (D D^T) a.
    The penalty is that at which the floor is highest, or nearly: on 1,795 pairs of HH harmless, five folds by prompt,
    penalties of 0.1, 0.5, 1, 2, 5 and 10 rank 61.0, 62.5, 62.4, 61.8, 61.9 and 61.1% right (standard error 1.1).
    """
    if len(train) > MAX_PAIRS:
        train = [train[i] for i in np.sort(np.random.default_rng(0).permutation(len(train))[:MAX_PAIRS]).tolist()]
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

    def margins(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        sides = [[terms(pair[side]) for pair in pairs] for side in (0, 1)]
        return (_vectors(sides[0], index, idf) - _vectors(sides[1], index, idf)) @ weights

    found = [margin for start in range(0, len(test), BLOCK) for margin in margins(test[start : start + BLOCK])]
    return [0.5 if margin == 0 else float(margin > 0) for margin in found]


def cross_validated_tfidf_wins(
    pairs: Sequence[tuple[str, str]], prompts: Sequence[str], *, folds: int = 5, seed: int = 0
) -> list[float]:
    """`tfidf_wins` of every pair by a model that saw no pair of its prompt.

    `prompts` names the prompt of each pair; prompts are dealt to `folds` parts at random. Raises ValueError for fewer
    than two prompts.
    """
    names = sorted(set(prompts))
    if len(names) < 2:
        raise ValueError("all pairs have one prompt: nothing is left to fit the TF-IDF baseline on")
    folds = min(folds, len(names))
    dealt = np.random.default_rng(seed).permutation(len(names)) % folds
    fold_of = dict(zip(names, dealt.tolist(), strict=True))
    won = [0.5] * len(pairs)
    for fold in range(folds):
        test = [i for i, prompt in enumerate(prompts) if fold_of[prompt] == fold]
        train = [pair for pair, prompt in zip(pairs, prompts, strict=True) if fold_of[prompt] != fold]
        for i, win in zip(test, tfidf_wins(train, [pairs[i] for i in test]), strict=True):
            won[i] = win
    return won
