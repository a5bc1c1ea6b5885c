"""What one system gains over another at equal length: the part of a difference in scores that no longer answer buys."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .statistics import Estimate, finite, normal


def gain_at_equal_length(gains: ArrayLike, lengths: ArrayLike) -> Estimate:
    """Intercept of the least-squares line of `gains` (n,) on differences in length `lengths` (n,), a pair a prompt.

    The linear form of Dubois et al. 2024 (arXiv:2404.04475, section 3.2) for scores that are no preferences. The
    standard error is the one that does not take all residuals to be as wide (White 1980, HC1). Where all differences in
    length are the same there is no line: then it is the mean where they are 0, else a ValueError.
    """
    y, x = finite(gains), finite(lengths)
    if len(x) != len(y) or len(x) < 3:
        raise ValueError(f"{len(y)} gains and {len(x)} differences in length: need as many, at least 3")
    if np.ptp(x) == 0:
        if x[0]:
            raise ValueError(f"all answers differ in length by {x[0]:g}: what they gain at equal length is not known")
        return normal(float(y.mean()), float(y.std(ddof=1) / np.sqrt(len(y))), len(y))
    design = np.stack([np.ones_like(x), x], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    weights = inverse @ design.T @ y
    residuals = y - design @ weights
    middle = (design * residuals[:, None] ** 2).T @ design
    variance = (inverse @ middle @ inverse)[0, 0] * len(y) / (len(y) - 2)
    return normal(float(weights[0]), float(np.sqrt(variance)), len(y))
