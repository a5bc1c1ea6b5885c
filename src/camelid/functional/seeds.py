"""One number out of several runs that differ in their seed alone, or in the fold of the data that was their test."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .statistics import Estimate, normal


def over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """Mean over seeds of a measure taken on the same n units each time.

        SE^2 = mean_k SE_k^2 + var_k(value) / K

    The first part does not fall with the number of seeds K: all were asked the same questions. It counts a seed's own
    chance answers once too often, so the interval, value -+ 1.96 SE, is rather too wide than too narrow; but with few
    seeds the second part is itself known badly. With one seed it is that seed's estimate, interval and all.
    """
    if not estimates:
        raise ValueError("no seed to average over")
    if len(estimates) == 1:
        return estimates[0]
    values = [e.value for e in estimates]
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    error = math.sqrt(sum(e.standard_error**2 for e in estimates) / len(estimates) + spread / len(estimates))
    return normal(mean, error, min(e.n for e in estimates))


def over_folds(estimates: Sequence[Estimate]) -> Estimate:
    """Mean over folds, whose units are all different, as if all units had been one test.

        value = sum_k n_k value_k / n,    SE^2 = sum_k (n_k SE_k / n)^2,    n = sum_k n_k

    The folds' models share most of their training rows, and this does not count what that adds: folds tell how good
    models of such data are on other prompts, not how much another draw of the data would change them.
    """
    if not estimates:
        raise ValueError("no fold to average over")
    n = sum(e.n for e in estimates)
    value = sum(e.n * e.value for e in estimates) / n
    error = math.sqrt(sum((e.n * e.standard_error) ** 2 for e in estimates)) / n
    return normal(value, error, n)
