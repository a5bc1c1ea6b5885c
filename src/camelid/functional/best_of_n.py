"""What the best of n samples is worth, estimated from K >= n samples a prompt.

Drawing n of K at random and averaging the maxima is noisy; the mean over all subsets has a closed form. It is the same
combinatorics as pass@k (Chen et al. 2021, arXiv:2107.03374, eq. 1), for any score instead of pass or fail.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def expected_best_of_n(scores: ArrayLike, n: int) -> float:
    """Unbiased estimate of E[max of n samples] from K samples (Nakano et al. 2021, arXiv:2112.09332, appendix I).

        sum_{i=n..K} r_(i) C(i-1, n-1) / C(K, n),        r_(1) <= ... <= r_(K)

    r_(i) is the best of exactly C(i-1, n-1) of the C(K, n) subsets of size n. `scores`: (K,), any units, which the
    result has too. Raises ValueError unless 1 <= n <= K.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    return float(ordered @ _weights(len(ordered), n))


def expected_second_score(scores: ArrayLike, second: ArrayLike, n: int) -> float:
    """What a second model thinks of the sample that the first picks from n: E[second(argmax of n samples)], unbiased.

        sum_{i=n..K} s_(i) C(i-1, n-1) / C(K, n),        s_(i) the second score of the sample with the i-th lowest score

    `scores`, `second`: (K,), of the same samples in the same order. Ties of `scores` are broken at random, so each of
    the tied counts with the mean of their second scores. Raises ValueError unless 1 <= n <= K and both have K numbers.
    """
    first, other = np.asarray(scores, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != other.shape:
        raise ValueError(f"{first.shape} scores against {other.shape} second scores; give one of each a sample")
    order = np.argsort(first, kind="stable")
    _, tied = np.unique(first[order], return_inverse=True)
    means = np.bincount(tied, weights=other[order]) / np.bincount(tied)
    return float(means[tied] @ _weights(len(first), n))


def best_of_n_by_prompt(scores: ArrayLike, n: int) -> NDArray[np.float64]:
    """(P,) `expected_best_of_n` of each prompt. `scores`: (P, K), K samples of each of P prompts."""
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=1)
    return ordered @ _weights(ordered.shape[1], n)


def best_of_n_curve(scores: ArrayLike, ns: Sequence[int]) -> list[tuple[int, float, float]]:
    """(n, mean, standard error) of `expected_best_of_n` over prompts, for each n of `ns`.

    `scores`: (P, K), K samples of each of P prompts. The standard error is that of the mean over prompts, who are the
    independent units (the K samples of a prompt are not); it is NaN for a single prompt.
    """
    curve = []
    for n in ns:
        best = best_of_n_by_prompt(scores, n)
        error = float(best.std(ddof=1) / math.sqrt(len(best))) if len(best) > 1 else math.nan
        curve.append((n, float(best.mean()), error))
    return curve


def in_blocks(scores: ArrayLike, n: int) -> NDArray[np.float64]:
    """(P, K // n, n): each prompt's samples in the order in which they were drawn, n at a time; a rest is left out.

    The maximum of a block is what picking the best of n samples gives, no estimate in between. `scores`: (P, K).
    Raises ValueError unless 1 <= n <= K.
    """
    drawn = np.asarray(scores, dtype=np.float64)
    prompts, samples = drawn.shape
    if not 1 <= n <= samples:
        raise ValueError(f"blocks of {n} cannot be made of {samples} samples; n must lie in 1..{samples}")
    return drawn[:, : samples // n * n].reshape(prompts, samples // n, n)


def best_of_n_kl_bound(n: int) -> float:
    """log n - (n - 1) / n, in nats: at least KL(best of n || policy).

    Often quoted as the divergence itself (Stiennon et al. 2020, arXiv:2009.01325, appendix G.3). It is an upper bound
    (Beirami et al. 2024, arXiv:2401.01879), met only where scores never tie and each completion is unlikely.
    """
    return math.log(n) - (n - 1) / n


def _weights(num_samples: int, n: int) -> NDArray[np.float64]:
    """C(i-1, n-1) / C(K, n) for i = 1..K. Python's integers are exact, so nothing overflows on the way to the ratio."""
    if not 1 <= n <= num_samples:
        raise ValueError(f"best of {n} cannot be estimated from {num_samples} samples; n must lie in 1..{num_samples}")
    subsets = math.comb(num_samples, n)
    return np.array([math.comb(i, n - 1) / subsets for i in range(num_samples)])
