"""How often a score puts the better of two answers first: shares of wins, by group, and with length taken out.

A *win* is 1 where the chosen answer scores higher than the rejected one, 0 where it scores lower, one half at a tie.
Pairs of one prompt are not independent: intervals resample prompts, named by `prompts`, one name a pair.
Left out: the interval's share of the luck in drawing the training set; retrain with other seeds for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .statistics import Estimate, bootstrap, proportion

Floats = NDArray[np.float64]

RATIO_BOUNDS = (0.5, 0.8, 1.25, 2.0)
"""Bounds between bins of length(chosen) / length(rejected), each the inverse of one on the other side of 1."""


class RatioBin(NamedTuple):
    """Pairs with low <= length(chosen) / length(rejected) < high."""

    low: float
    high: float
    accuracy: Estimate


def wins(chosen: ArrayLike, rejected: ArrayLike) -> Floats:
    """(n,) wins of `chosen` over `rejected`, (n,) numbers in any unit: 1, 0, or one half where they are equal."""
    difference = np.asarray(chosen, dtype=np.float64) - np.asarray(rejected, dtype=np.float64)
    if not np.isfinite(difference).all():
        raise ValueError(
            f"{int((~np.isfinite(difference)).sum())} of {difference.size} score differences are no numbers"
        )
    return 0.5 + 0.5 * np.sign(difference)


def longer_wins(chosen: Sequence[str], rejected: Sequence[str]) -> Floats:
    """(n,) wins of the judge that prefers whichever text has more characters: what a reward model must beat."""
    return wins([len(text) for text in chosen], [len(text) for text in rejected])


def share_of_wins(won: ArrayLike, prompts: Sequence[str] | None = None) -> Estimate:
    """Mean of wins: Wilson's interval where each pair has a prompt of its own, else a bootstrap over prompts.

    `n` is the number of prompts. Where all wins are equal, the bootstrap would claim certainty, and Wilson's interval
    for so many prompts takes its place.
    """
    y = np.asarray(won, dtype=np.float64)
    units = unit_numbers(prompts, len(y))
    num_units = int(units.max(initial=-1)) + 1
    if num_units == len(y):
        return proportion(float(y.sum()), len(y))
    if np.ptp(y) == 0:
        return proportion(float(y[0]) * num_units, num_units)
    return mean_over_pairs(y, prompts)


def gain(won: ArrayLike, baseline: ArrayLike, prompts: Sequence[str] | None = None) -> Estimate:
    """How much more often one judge is right than another on the same pairs, in [-1, 1]; a bootstrap over prompts.

    What makes a pair hard for both drops out. An interval without 0 is a difference.
    """
    return mean_over_pairs(np.asarray(won, dtype=np.float64) - np.asarray(baseline, dtype=np.float64), prompts)


def mean_over_pairs(values: ArrayLike, prompts: Sequence[str] | None = None) -> Estimate:
    """Mean of any number that pairs have, (n,), with a bootstrap over prompts; `n` is the number of prompts."""
    x = np.asarray(values, dtype=np.float64)
    units = unit_numbers(prompts, len(x))
    return _over_units(np.stack([x, np.ones_like(x)]), units, lambda sums: sums[0] / sums[1])


def length_balanced(
    won: ArrayLike, length_differences: ArrayLike, prompts: Sequence[str] | None = None
) -> Estimate | None:
    """Share of wins among pairs weighed so that the longer answer is the chosen one in exactly half of them.

        [ (n_L + n_S) (c_L / n_L + c_S / n_S) / 2 + c_E ] / (n_L + n_S + n_E)

    n and c: pairs and wins where the chosen answer is longer (L), shorter (S), equally long (E). Length alone gets one
    half here, whatever the bias of the data. `length_differences`: (n,), of chosen less rejected, any unit. None where
    no chosen answer is longer, or none shorter: then length cannot be told from quality. The bootstrap over prompts
    weighs anew each time.
    """
    y, d = np.asarray(won, dtype=np.float64), np.asarray(length_differences, dtype=np.float64)
    longer, shorter = (d > 0).astype(np.float64), (d < 0).astype(np.float64)
    if not longer.any() or not shorter.any():
        return None
    equal = 1 - longer - shorter
    columns = np.stack([longer, longer * y, shorter, shorter * y, equal, equal * y])

    def balanced(sums: Floats) -> Floats:
        n_l, c_l, n_s, c_s, n_e, c_e = sums
        # A resample may lose all pairs of a kind; the other kind's share stands for both then.
        share_l, share_s = (c / np.where(n == 0, 1, n) for n, c in ((n_l, c_l), (n_s, c_s)))
        share_l, share_s = np.where(n_l == 0, share_s, share_l), np.where(n_s == 0, share_l, share_s)
        return ((n_l + n_s) * (share_l + share_s) / 2 + c_e) / (n_l + n_s + n_e)

    return _over_units(columns, unit_numbers(prompts, len(y)), balanced)


def by_length_ratio(
    won: ArrayLike, chosen_lengths: ArrayLike, rejected_lengths: ArrayLike, prompts: Sequence[str] | None = None
) -> list[RatioBin]:
    """Share of wins by length(chosen) / length(rejected); empty bins are left out. Length alone wins above 1 only."""
    y = np.asarray(won, dtype=np.float64)
    ratios = np.asarray(chosen_lengths, dtype=np.float64) / np.maximum(
        np.asarray(rejected_lengths, dtype=np.float64), 1
    )
    place = np.digitize(ratios, RATIO_BOUNDS)
    bounds = (0.0, *RATIO_BOUNDS, math.inf)
    return [
        RatioBin(bounds[i], bounds[i + 1], share_of_wins(y[place == i], _picked(prompts, place == i)))
        for i in range(len(bounds) - 1)
        if (place == i).any()
    ]


def shares_by_label(
    won: Mapping[str, Floats], labels: Sequence[str | None], prompts: Sequence[str] | None = None
) -> dict[str, dict[str, dict[str, Any]]]:
    """Shares of wins of each judge of `won` by label, {label: {judge: estimate}}; pairs labelled None are left out."""
    found = {}
    for label in dict.fromkeys(label for label in labels if label is not None):
        mine = np.array([other == label for other in labels])
        found[label] = shares({name: y[mine] for name, y in won.items()}, _picked(prompts, mine))
    return found


def shares(won: Mapping[str, Floats], prompts: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Shares of wins of several judges on the same pairs, JSON-able."""
    return {name: share_of_wins(y, prompts)._asdict() for name, y in won.items()}


def _over_units(columns: Floats, units: NDArray[np.intp], statistic: Callable[[Floats], Floats]) -> Estimate:
    """`statistic` of the sums of `columns` (C, n), bootstrapped over units: it gets sums (C, R), returns (R,)."""
    per_unit = np.stack([np.bincount(units, weights=column) for column in columns])  # (C, U)
    num_units = per_unit.shape[1]
    value = float(statistic(per_unit.sum(1, keepdims=True))[0])
    if num_units == 1:
        return Estimate(value, -math.inf, math.inf, 1, math.inf)
    resampled = bootstrap(num_units, lambda counts: statistic(per_unit @ counts.T))
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Estimate(value, float(low), float(high), num_units, float(resampled.std(ddof=1)))


def unit_numbers(prompts: Sequence[str] | None, n: int) -> NDArray[np.intp]:
    """The number of each pair's prompt, (n,); each its own where none are named."""
    if prompts is None:
        return np.arange(n)
    if len(prompts) != n:
        raise ValueError(f"{len(prompts)} prompts named for {n} pairs; name one a pair")
    return np.unique(np.asarray(prompts, dtype=str), return_inverse=True)[1]


def _picked(prompts: Sequence[str] | None, which: NDArray[np.bool_]) -> list[str] | None:
    return None if prompts is None else [prompt for prompt, mine in zip(prompts, which, strict=True) if mine]
