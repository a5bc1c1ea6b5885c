"""Whether numbers fall into two heaps: the bimodality coefficient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .bootstrap import Floats, bootstrap_statistic
from .pair_accuracy import unit_numbers
from .statistics import Estimate, finite


def bimodality_coefficient(values: ArrayLike, units: Sequence[str] | None = None) -> Estimate | None:
    """(skewness^2 + 1) / kurtosis, in (0, 1]: a normal distribution 1/3, a uniform one 5/9, two points alone 1.

    Above 5/9 two heaps are likely (Pfister et al. 2013, Frontiers in Psychology 4:700). Departure: they correct the
    moments for small n; here these are of the values themselves, so that the coefficient stays within 1 and resamples
    weigh as they should. One long tail raises it, too: look at the values. `units` names the independent unit of each,
    for the interval. None where the values do not vary.
    """
    x = finite(values)
    if np.ptp(x) == 0:
        return None
    x = (x - x.mean()) / x.std()
    numbers = unit_numbers(units, len(x))
    sums = np.stack([np.bincount(numbers, weights=x**power) for power in range(5)])  # (5, U)

    def coefficient(counts: Floats) -> Floats:
        n, *moments = sums @ counts.T  # (R,) each
        a, b, c, d = (moment / n for moment in moments)
        variance = b - a**2
        skewed = c - 3 * a * b + 2 * a**3
        heavy = d - 4 * a * c + 6 * a**2 * b - 3 * a**4
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(variance > 1e-12, (skewed**2 / variance**3 + 1) / (heavy / variance**2), np.nan)

    return bootstrap_statistic(sums.shape[1], coefficient)
