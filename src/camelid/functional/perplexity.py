"""Perplexity with its interval: documents (or items) are the independent units, not tokens."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .statistics import Estimate

RESAMPLES = 2000


def nats_a_unit(nats: ArrayLike, units: ArrayLike, *, seed: int = 0) -> Estimate:
    """sum(nats) / sum(units) with a bootstrap interval over documents.

    `nats`: (n,) negative log-likelihood of each document. `units`: (n,) its words, bytes or tokens, each above 0.
    With n = 1 nothing is known of the spread: the interval is infinite.
    """
    x, y = np.asarray(nats, dtype=np.float64), np.asarray(units, dtype=np.float64)
    if x.ndim != 1 or not len(x) or x.shape != y.shape or not np.isfinite(x).all() or not (y > 0).all():
        raise ValueError(f"need as many finite likelihoods as positive counts, at least one; got {len(x)} and {len(y)}")
    if len(x) == 1:
        return Estimate(float(x[0] / y[0]), -math.inf, math.inf, 1, math.inf)
    generator = np.random.default_rng(seed)
    ratios = np.empty(RESAMPLES)
    for i in range(RESAMPLES):  # one at a time: all at once would hold RESAMPLES x n numbers
        drawn = generator.integers(0, len(x), len(x))
        ratios[i] = x[drawn].sum() / y[drawn].sum()
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Estimate(float(x.sum() / y.sum()), float(low), float(high), len(x), float(ratios.std(ddof=1)))


def perplexity(nats: ArrayLike, units: ArrayLike, *, seed: int = 0) -> Estimate:
    """exp(sum(nats) / sum(units)); the interval is that of the exponent, the standard error by the delta method."""
    x = nats_a_unit(nats, units, seed=seed)
    value = math.exp(x.value)
    return Estimate(value, math.exp(x.low), math.exp(x.high), x.n, value * x.standard_error)
