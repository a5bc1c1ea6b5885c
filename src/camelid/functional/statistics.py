"""Every number with its error: proportions, means, differences and win rates with 95% intervals.

Numpy only, so that people who annotate or read reports need no torch. All bootstraps resample the values given, which
must be independent units: give one value a prompt, not one a sample or a token. They are seeded and repeatable.
What bootstrap cannot see, it would call impossible: after 20 wins out of 20 its interval is [1, 1]. Where all outcomes
are equal, the Wilson interval takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054
"""The 97.5% point of the normal distribution."""

BLOCK = 2_000_000
"""Drawn numbers held at once by a bootstrap, 16 MB of float64."""


class Estimate(NamedTuple):
    """A value with its 95% interval, the number of independent units behind it, and its standard error."""

    value: float
    low: float
    high: float
    n: int
    standard_error: float


def proportion(successes: float, n: int) -> Estimate:
    """successes / n with Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001, section 3.1.1).

        centre = (p + z^2 / 2n) / (1 + z^2 / n),   half width = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)

    It stays inside [0, 1] and keeps a width at 0 and 1. For the same reason the standard error is half width / z, not
    sqrt(p (1 - p) / n), which claims certainty there. `successes` may be fractional (ties count a half).
    Raises ValueError unless 0 <= successes <= n and n >= 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes out of {n}: need n of at least 1 and successes in 0..n")
    p = successes / n
    denominator = 1 + Z95**2 / n
    centre = (p + Z95**2 / (2 * n)) / denominator
    half_width = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2)) / denominator
    # Rounding can put the bound a hair inside p at 0 and 1, where it equals p.
    return Estimate(
        p, min(p, max(0.0, centre - half_width)), max(p, min(1.0, centre + half_width)), n, half_width / Z95
    )


def bootstrap_mean(values: ArrayLike, *, num_resamples: int = 2000, seed: int = 0) -> Estimate:
    """Mean with the percentile interval of the bootstrap (Efron and Tibshirani 1993, chapter 13).

    `values`: (n,), one an independent unit. The standard error is the usual one, std (divided by n - 1) / sqrt(n).
    With n = 1 nothing is known of the spread: the interval is infinite. Raises ValueError for no values or a NaN.
    """
    x = _finite(values)
    if len(x) == 1:
        return Estimate(float(x[0]), -math.inf, math.inf, 1, math.inf)
    means = bootstrap(len(x), lambda counts: counts @ x / len(x), num_resamples, seed)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(x.mean()), float(low), float(high), len(x), float(x.std(ddof=1) / math.sqrt(len(x))))


def paired_bootstrap_difference(a: ArrayLike, b: ArrayLike, *, num_resamples: int = 2000, seed: int = 0) -> Estimate:
    """mean(a) - mean(b) for two systems measured on the same units, a[i] and b[i] on unit i; resamples units.

    What makes a unit hard for both drops out, so the interval is narrower than from two separate ones (Koehn 2004,
    'Statistical significance tests for machine translation evaluation'). An interval without 0 is a difference.
    """
    x, y = _finite(a), _finite(b)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} values against {len(y)}: pairs need the same units in the same order")
    return bootstrap_mean(x - y, num_resamples=num_resamples, seed=seed)


def win_rate(outcomes: ArrayLike, *, num_resamples: int = 2000, seed: int = 0) -> Estimate:
    """Mean of outcomes, 1.0 for a win, 0.5 for a tie, 0.0 for a loss (or a graded preference in between), in [0, 1].

    Bootstrap interval; Wilson's where all outcomes are equal. Judgements that failed are no ties: leave them out and
    count them elsewhere. Raises ValueError for no outcomes or one outside [0, 1].
    """
    y = _outcomes(outcomes)
    if np.ptp(y) == 0:
        return proportion(float(y.sum()), len(y))
    return bootstrap_mean(y, num_resamples=num_resamples, seed=seed)


def length_controlled_win_rate(
    outcomes: ArrayLike, length_differences: ArrayLike, *, num_resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Win rate if both answers were equally long: sigmoid(a) of the logistic regression

        P(win_i) = sigmoid(a + b tanh(d_i / std(d)))

    with d_i the length of our answer less that of the other, in any one unit. This is the length term of
    Dubois et al. 2024 (arXiv:2404.04475, section 3.2, eq. 2). Departures: no instruction-difficulty term (its values
    are fitted on their leaderboard and exist for their prompts alone), no artificial gamed baselines in the fit, a tiny
    ridge instead of cross-validated L1. So this is not the number of their leaderboard; it answers the same question.
    Measured: on the 12 models that GPT-4 compared with text-davinci-003 the mean distance to their length-controlled
    column is 3.3 points (that of the plain win rate: 14.2), the largest 11.7, for LLaMA-2-7B-Chat. Where hardly any
    pair is equally long the value is an extrapolation: for Alpaca 7B, five times shorter than GPT-4 Turbo and winning
    2.6%, it is 19.8% [12.5, 28.5] where their regularised fit says 5.9%.

    Bootstrap interval and standard error over units, with std(d) held fixed; Wilson's where all outcomes are equal.
    Outcomes as in `win_rate`. Raises ValueError if the two arguments differ in length.
    """
    y, d = _outcomes(outcomes), _finite(length_differences)
    if len(y) != len(d):
        raise ValueError(f"{len(y)} outcomes against {len(d)} length differences; give one difference an outcome")
    if np.ptp(y) == 0:
        return proportion(float(y.sum()), len(y))
    spread = d.std(ddof=1)
    # Where all differences are equal, the data cannot tell length from quality.
    feature = np.tanh(d / spread) if spread > 0 else np.zeros_like(d)

    def at_equal_length(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-_fit_logistic(y, feature, counts)[:, 0]))

    value = float(at_equal_length(np.ones((1, len(y))))[0])
    resampled = bootstrap(len(y), at_equal_length, num_resamples, seed)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Estimate(value, float(low), float(high), len(y), float(resampled.std(ddof=1)))


def alpaca_eval_win_rate(preferences: Sequence[float]) -> tuple[float, float]:
    """AlpacaEval's win rate and its standard error, both in percent (github.com/tatsu-lab/alpaca_eval).

    `preferences`: AlpacaEval's codes, 2 where our output won, 1 where the reference did, 0 for a tie, which counts one
    half; or graded, any number from 1 to 2, which counts x - 1. Needs two or more.
    Raises ValueError for anything else, NaN included: AlpacaEval drops judgements that failed, and so should the
    caller, counting them.
    """
    x = _finite(preferences)
    wrong = x[(x != 0) & ((x < 1) | (x > 2))]
    if len(wrong):
        raise ValueError(f"preference {wrong[0]}: AlpacaEval's codes are 0 (tie) and 1 to 2; convert other codes first")
    if len(x) < 2:
        raise ValueError("one preference has no standard error; give at least two")
    outcomes = np.where(x == 0, 0.5, x - 1)
    return 100 * float(outcomes.mean()), 100 * float(outcomes.std(ddof=1) / math.sqrt(len(outcomes)))


def _fit_logistic(
    y: NDArray[np.float64], feature: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Intercept and slope, (R, 2), of R logistic regressions at once; `counts` (R, n) weighs the n units in each.

    Newton's method. The ridge of 1e-3 (a normal prior of standard deviation 32 on each coefficient) only matters where
    the data are separable and the maximum lies at infinity; steps are cut to length 2, or Newton overshoots there.
    """
    ridge, longest_step = 1e-3, 2.0
    x = np.stack([np.ones_like(feature), feature], axis=1)  # (n, 2)
    products = x[:, :, None] * x[:, None, :]  # (n, 2, 2)
    beta = np.zeros((len(counts), 2))
    for _ in range(100):
        p = 1 / (1 + np.exp(-beta @ x.T))  # (R, n)
        gradient = (counts * (y - p)) @ x - ridge * beta  # (R, 2)
        hessian = np.tensordot(counts * p * (1 - p), products, axes=1) + ridge * np.eye(2)  # (R, 2, 2)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        step *= np.minimum(1, longest_step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-300))
        beta += step
        if np.abs(step).max() < 1e-9:
            break
    return beta


def bootstrap(
    n: int, statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], num_resamples: int = 2000, seed: int = 0
) -> NDArray[np.float64]:
    """`statistic` of `num_resamples` resamples; it gets how often each unit was drawn, (R, n), and returns (R,)."""
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK // n)
    parts = []
    for start in range(0, num_resamples, block):
        rows = min(block, num_resamples - start)
        drawn = generator.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        parts.append(statistic(counts.astype(np.float64)))
    return np.concatenate(parts)


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"need a flat, non-empty list of numbers, not one of shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{int((~np.isfinite(x)).sum())} of {len(x)} values are not finite; drop and count them first")
    return x


def _outcomes(outcomes: ArrayLike) -> NDArray[np.float64]:
    y = _finite(outcomes)
    if y.min() < 0 or y.max() > 1:
        raise ValueError(f"outcomes run from {y.min()} to {y.max()}; they must lie in [0, 1]: 1 win, 0.5 tie, 0 loss")
    return y
