"""Win rates at equal length: what a judge would have said had no answer been longer than the other.

Numpy only. Dubois et al. 2024 (arXiv:2404.04475, section 3.2) fit a logistic regression of the judge's preference on a
length term, a term for the instruction's difficulty and an intercept, and read the win rate off with the length term
set to zero. Their difficulties are fitted on their whole leaderboard. Here they may be given, or known only in part:
`Known` says what is known before the outcomes are seen. Left out: their two extra baselines (answers asked to be short
and long) as weighted rows; they pull the length weight to a common value, which a prior on it does as well.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .statistics import Estimate, bootstrap, checked_outcomes, finite, proportion

Array = NDArray[np.float64]
VAGUE = (0.0, 32.0)
"""A normal prior (mean, standard deviation) that only matters where the data leave a weight without bound."""

POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
"""Gauss-Hermite quadrature of a standard normal; 9 points give its logistic integrals to 1e-4 up to a spread of 1.5."""


class Known(NamedTuple):
    """What is known of the regression's terms before any outcome is seen; of each weight a normal prior."""

    length_weight: tuple[float, float] = VAGUE
    """Mean and standard deviation of b."""
    difficulty: ArrayLike | None = None
    """(n,), in log-odds: what is known of each instruction; larger where our answers win more easily."""
    difficulty_weight: tuple[float, float] = (1.0, 1.0)
    """Mean and standard deviation of c."""
    spread: float = 0.0
    """Standard deviation, in log-odds, of what is not known of an instruction's difficulty."""


def length_controlled_win_rate(
    outcomes: ArrayLike,
    length_differences: ArrayLike,
    known: Known | None = None,
    *,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Win rate if both answers were equally long: the mean over instructions of P with the length term at zero, in

        P(win_i) = E_e sigmoid(a + b tanh(d_i / std(d)) + c difficulty_i + spread e),    e ~ N(0, 1)

    with d_i the length of our answer less that of the other, in any one unit; a, b, c maximise the cross-entropy of the
    outcomes plus the logarithm of their priors. Without `known` this is a plain logistic regression on length.

    How near it comes to the published length-controlled column of AlpacaEval 2: see `evaluate/alpaca_eval.py`. Where
    hardly any pair is equally long the value is an extrapolation, and all rests on the prior of b.

    Bootstrap interval and standard error over units, with std(d) held fixed; Wilson's where all outcomes are equal.
    Outcomes as in `win_rate`. Raises ValueError if the arguments differ in length.
    """
    y, d, known = checked_outcomes(outcomes), finite(length_differences), known or Known()
    if len(y) != len(d):
        raise ValueError(f"{len(y)} outcomes against {len(d)} length differences; give one difference an outcome")
    if np.ptp(y) == 0:
        return proportion(float(y.sum()), len(y))
    scale = d.std(ddof=1)
    # Where all differences are equal, the data cannot tell length from quality.
    length = np.tanh(d / scale) if scale > 0 else np.zeros_like(d)
    columns, priors = [np.ones_like(d), length], [VAGUE, known.length_weight]
    if known.difficulty is not None:
        columns.append(finite(known.difficulty))
        priors.append(known.difficulty_weight)
        if len(columns[-1]) != len(y):
            raise ValueError(f"{len(y)} outcomes against {len(columns[-1])} difficulties; give one an outcome")
    x, prior = np.stack(columns, axis=1), np.array(priors)  # (n, k), (k, 2)
    at_equal_length = x * [1.0, 0.0, 1.0][: x.shape[1]]
    start = _fit(y, x, np.ones((1, len(y))), prior, known.spread, prior[:, 0])

    def mean_at_equal_length(counts: Array) -> Array:
        weights = _fit(y, x, counts, prior, known.spread, start[0])
        p, _ = _probability(weights @ at_equal_length.T, known.spread)
        return (counts * p).sum(axis=1) / counts.sum(axis=1)

    value = float(mean_at_equal_length(np.ones((1, len(y))))[0])
    resampled = bootstrap(len(y), mean_at_equal_length, num_resamples, seed)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Estimate(value, float(low), float(high), len(y), float(resampled.std(ddof=1)))


def _fit(y: Array, x: Array, counts: Array, prior: Array, spread: float, start: Array) -> Array:
    """The weights, (R, k), of R regressions at once; `counts` (R, n) weighs the n units in each.

    Fisher scoring, which is Newton's method where the spread is 0. Steps are cut to length 2: where the data are
    separable it overshoots there.
    """
    longest_step = 2.0
    mean, precision = prior[:, 0], 1 / prior[:, 1] ** 2
    products = x[:, :, None] * x[:, None, :]  # (n, k, k)
    weights = np.tile(start, (len(counts), 1))
    for _ in range(100):
        p, slope = _probability(weights @ x.T, spread)  # (R, n)
        variance = np.maximum(p * (1 - p), 1e-12)
        gradient = (counts * (y - p) * slope / variance) @ x - precision * (weights - mean)  # (R, k)
        information = np.tensordot(counts * slope**2 / variance, products, axes=1) + np.diag(precision)  # (R, k, k)
        step = np.linalg.solve(information, gradient[:, :, None])[:, :, 0]
        step *= np.minimum(1, longest_step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-300))
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _probability(log_odds: Array, spread: float) -> tuple[Array, Array]:
    """E_e sigmoid(log_odds + spread e) and its derivative, both of the shape of `log_odds`."""
    p, slope = np.zeros_like(log_odds), np.zeros_like(log_odds)
    points, weights = (POINTS, WEIGHTS / WEIGHTS.sum()) if spread else (np.zeros(1), np.ones(1))
    for point, weight in zip(points, weights, strict=True):
        q = 1 / (1 + np.exp(-(log_odds + spread * point)))
        p += weight * q
        slope += weight * q * (1 - q)
    return p, slope
