"""Every number with its error: proportions, means, differences and win rates with 95% intervals.

Numpy only, so that people who annotate or read reports need no torch. All bootstraps resample the values given, which
must be independent units: give one value a prompt, not one a sample or a token. They are seeded and repeatable.
What bootstrap cannot see, it would call impossible: after 20 wins out of 20 its interval is [1, 1]. Where all outcomes
are equal, the Wilson interval takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    x = finite(values)
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
    x, y = finite(a), finite(b)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} values against {len(y)}: pairs need the same units in the same order")
    return bootstrap_mean(x - y, num_resamples=num_resamples, seed=seed)


def win_rate(outcomes: ArrayLike, *, num_resamples: int = 2000, seed: int = 0) -> Estimate:
    """Mean of outcomes, 1.0 for a win, 0.5 for a tie, 0.0 for a loss (or a graded preference in between), in [0, 1].

    Bootstrap interval; Wilson's where all outcomes are equal. Judgements that failed are no ties: leave them out and
    count them elsewhere. Raises ValueError for no outcomes or one outside [0, 1].
    """
    y = checked_outcomes(outcomes)
    if np.ptp(y) == 0:
        return proportion(float(y.sum()), len(y))
    return bootstrap_mean(y, num_resamples=num_resamples, seed=seed)


def correlation(a: ArrayLike, b: ArrayLike) -> Estimate | None:
    """Pearson's correlation with Fisher's interval, tanh(atanh(r) -+ z / sqrt(n - 3)); None where it has no meaning.

    That is where one of the two does not vary, and for fewer than four pairs. The standard error is (1 - r^2) /
    sqrt(n - 1). Raises ValueError if the two differ in length.
    """
    x, y = finite(a), finite(b)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} values against {len(y)}: a correlation needs pairs")
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    r = max(-1.0, min(1.0, float(np.corrcoef(x, y)[0, 1])))
    # At -1 and 1 the interval has no width, and atanh no value.
    centre, half_width = math.atanh(max(-1 + 1e-15, min(1 - 1e-15, r))), Z95 / math.sqrt(len(x) - 3)
    error = (1 - r**2) / math.sqrt(len(x) - 1)
    return Estimate(r, math.tanh(centre - half_width), math.tanh(centre + half_width), len(x), error)


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


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """As a flat array. Raises ValueError for no values, a NaN or an infinity."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"need a flat, non-empty list of numbers, not one of shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{int((~np.isfinite(x)).sum())} of {len(x)} values are not finite; drop and count them first")
    return x


def checked_outcomes(outcomes: ArrayLike) -> NDArray[np.float64]:
    """As a flat array. Raises ValueError for one outside [0, 1]."""
    y = finite(outcomes)
    if y.min() < 0 or y.max() > 1:
        raise ValueError(f"outcomes run from {y.min()} to {y.max()}; they must lie in [0, 1]: 1 win, 0.5 tie, 0 loss")
    return y
