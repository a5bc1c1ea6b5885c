"""Intervals for statistics that are no means: correlations, balanced rates, averages of several of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .statistics import Estimate, bootstrap

Floats = NDArray[np.float64]

LEAST_DEFINED = 0.5
"""Share of resamples in which a statistic must exist for its interval to be given."""


def bootstrap_statistic(
    n: int, statistic: Callable[[Floats], Floats], *, num_resamples: int = 2000, seed: int = 0
) -> Estimate:
    """A statistic of n units with the percentile interval of the bootstrap (Efron and Tibshirani 1993, chapter 13).

    `statistic` gets how often each unit counts, (R, n), and returns (R,); NaN where it is not defined, such as a
    correlation with a constant. Such resamples are left out; where more than half are, the interval is infinite.
    The value is that of every unit counted once, and NaN where even that does not exist: callers should ask first.
    """
    value = float(statistic(np.ones((1, n)))[0])
    resampled = bootstrap(n, statistic, num_resamples, seed)
    defined = resampled[np.isfinite(resampled)]
    if n < 2 or len(defined) < LEAST_DEFINED * num_resamples:
        return Estimate(value, -math.inf, math.inf, n, math.inf)
    low, high = np.quantile(defined, (0.025, 0.975))
    return Estimate(value, float(low), float(high), n, float(defined.std(ddof=1)))


def pearson(x: Floats, y: Floats, counts: Floats) -> Floats:
    """Pearson's correlation of x and y (n,), unit i counted `counts[r, i]` times; (R,). NaN where one is constant.

    r = cov(x, y) / sqrt(var(x) var(y)), each moment weighed by the counts.
    """
    total = counts.sum(1)
    mean_x, mean_y = counts @ x / total, counts @ y / total
    covariance = counts @ (x * y) / total - mean_x * mean_y
    variances = (counts @ (x * x) / total - mean_x**2) * (counts @ (y * y) / total - mean_y**2)
    # Rounding leaves a hair of variance in a constant; relative to the second moments it is nothing.
    scale = (counts @ (x * x) / total) * (counts @ (y * y) / total)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variances > 1e-18 * scale, covariance / np.sqrt(variances), np.nan)


def share_where(values: Floats, where: Floats, counts: Floats) -> Floats:
    """Mean of `values` (n,) over the units with `where` = 1; (R,). NaN where a resample has none of them."""
    number = counts @ where
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, counts @ (values * where) / number, np.nan)
