"""A long series made short for a picture: least, mean and greatest value of each bucket of neighbours.

Every extreme survives, which a choice of every n-th value would lose. Buckets hold the same number of values, a power
of two, counted from the series' beginning: a series that grows changes its last bucket only, until sizes double.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Envelope(NamedTuple):
    """Of each bucket its extremes and mean, NaN where no value is finite; `bad` counts those that are not."""

    low: list[float]
    mean: list[float]
    high: list[float]
    bad: list[int]


def bucket_size(count: int, most: int) -> int:
    """The smallest power of two that cuts `count` values into at most `most` buckets."""
    size = 1
    while -(-count // size) > most:
        size *= 2
    return size


def envelope(values: Sequence[float], size: int) -> Envelope:
    """The buckets of `size` values each; the last may hold fewer."""
    given = np.asarray(values, dtype=np.float64)
    if not len(given):
        return Envelope([], [], [], [])
    starts = np.arange(0, len(given), size)
    good = np.isfinite(given)
    counts = np.add.reduceat(good.astype(np.int64), starts)
    low = np.minimum.reduceat(np.where(good, given, np.inf), starts)
    high = np.maximum.reduceat(np.where(good, given, -np.inf), starts)
    sums = np.add.reduceat(np.where(good, given, 0.0), starts)
    mean = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
    lengths = np.diff(np.append(starts, len(given)))
    empty = counts == 0
    low[empty] = high[empty] = np.nan
    return Envelope(low.tolist(), mean.tolist(), high.tolist(), (lengths - counts).tolist())
