"""The area under the ROC curve of a classifier, and differences of such areas, with intervals over units.

Rows of one unit (a prompt) are not independent: the bootstrap resamples units. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bootstrap import bootstrap_statistic
from .statistics import Z95, Estimate, proportion

Floats = NDArray[np.float64]


class Group(NamedTuple):
    """Rows whose scores are compared with one another, such as those under one rule."""

    scores: Sequence[float]
    labels: Sequence[bool]
    units: Sequence[str]
    """The independent unit of each row."""


def auc(scores: ArrayLike, labels: ArrayLike, counts: Floats) -> Floats:
    """Share of (true, false) pairs whose true one scores higher, ties a half: Mann and Whitney's U / (n+ n-).

        A = sum_{i true} sum_{j false} c_i c_j ([s_i > s_j] + [s_i = s_j] / 2) / (sum_{i true} c_i sum_{j false} c_j)

    It is the area under the ROC curve (Hanley and McNeil 1982, 'The meaning and use of the area under a receiver
    operating characteristic curve'). `scores`, `labels`: (n,). `counts` c: (R, n), how often each row counts. Returns
    (R,), NaN where a resample lacks one of the two kinds.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    if s.ndim != 1 or s.shape != y.shape or not np.isfinite(s).all():
        raise ValueError(f"scores of shape {s.shape} against labels of {y.shape}: need equal flat lists, no NaN")
    order = np.argsort(s, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(s[order]) > 0))  # where each distinct score begins
    true = np.add.reduceat(counts[:, order] * y[order], starts, axis=1)  # (R, distinct scores)
    false = np.add.reduceat(counts[:, order] * ~y[order], starts, axis=1)
    below = false.cumsum(axis=1) - false
    pairs = true.sum(axis=1) * false.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, (true * (below + false / 2)).sum(axis=1) / pairs, np.nan)


def mean_auc(groups: Sequence[Group], *, seed: int = 0) -> Estimate | None:
    """Mean of the groups' areas, each weighing alike; None unless every group has both kinds.

    The interval resamples units, which may stand in several groups. Where all pairs of all groups are ordered alike
    the bootstrap would claim certainty; then the bound is Wilson's for as many independent pairs as there surely are,
    the units of the rarer kind in the smallest group.
    """
    if not groups or not all(_has_both(group) for group in groups):
        return None
    names, places = _units(groups)
    value = _mean(groups, places, np.ones((1, len(names))))[0]
    if value in (0.0, 1.0):
        rarer = min(_units_of_rarer_kind(group) for group in groups)
        bound = proportion(rarer * value, rarer)
        return Estimate(float(value), bound.low, bound.high, len(names), (bound.high - bound.low) / (2 * Z95))
    return bootstrap_statistic(len(names), lambda counts: _mean(groups, places, counts), seed=seed)


def mean_auc_difference(groups: Sequence[Group], others: Sequence[Group], *, seed: int = 0) -> Estimate | None:
    """Mean area of `groups` less that of `others`: the same rows, scored by another classifier; resamples units.

    None where an area does not exist. Raises ValueError where the rows are not the same.
    """
    if [(g.labels, g.units) for g in groups] != [(o.labels, o.units) for o in others]:
        raise ValueError("two classifiers are compared on the same rows in the same order")
    if not groups or not all(_has_both(group) for group in groups):
        return None
    names, places = _units(groups)
    return bootstrap_statistic(
        len(names), lambda counts: _mean(groups, places, counts) - _mean(others, places, counts), seed=seed
    )


def _mean(groups: Sequence[Group], places: Sequence[NDArray[np.int64]], counts: Floats) -> Floats:
    """(R,) from how often each unit counts, (R, units)."""
    return np.mean([auc(g.scores, g.labels, counts[:, at]) for g, at in zip(groups, places, strict=True)], axis=0)


def _units(groups: Sequence[Group]) -> tuple[list[str], list[NDArray[np.int64]]]:
    """All units, and the number of each row's unit, by group."""
    number = {name: i for i, name in enumerate(dict.fromkeys(name for group in groups for name in group.units))}
    return list(number), [np.array([number[name] for name in group.units], dtype=np.int64) for group in groups]


def _has_both(group: Group) -> bool:
    return 0 < sum(group.labels) < len(group.labels)


def _units_of_rarer_kind(group: Group) -> int:
    kinds = [{u for u, label in zip(group.units, group.labels, strict=True) if label == kind} for kind in (True, False)]
    return min(map(len, kinds))
