"""Means over groups that shall count alike, whatever their sizes ("macro average")."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .statistics import Z95, Estimate


def mean_of_groups(values: ArrayLike, groups: Sequence[Hashable]) -> Estimate:
    """Mean over groups of each group's mean, with the standard error of a stratified sample (Cochran 1977, eq. 5.11):

        se^2 = sum_g (s_g^2 / n_g) / G^2,    s_g^2 the variance inside group g, divided by n_g - 1

    and the interval value +- 1.96 se. The groups are taken as given, not as drawn from more. `values`: (n,). A group of
    one has no variance of its own and lends that of all values. Raises ValueError for no values.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or len(x) != len(groups):
        raise ValueError(f"{len(x)} values and {len(groups)} groups; need as many, and at least one")
    parts: dict[Hashable, list[float]] = {}
    for value, group in zip(x.tolist(), groups, strict=True):
        parts.setdefault(group, []).append(value)
    overall = float(x.var(ddof=1)) if len(x) > 1 else float("inf")
    variances = [(np.var(part, ddof=1) if len(part) > 1 else overall) / len(part) for part in parts.values()]
    value = float(np.mean([np.mean(part) for part in parts.values()]))
    error = float(np.sqrt(sum(variances))) / len(parts)
    return Estimate(value, value - Z95 * error, value + Z95 * error, len(x), error)
