"""Whether a reward model still speaks of what it was trained on, and whether it is being gamed.

*Drift*: its scores on fresh answers against those on the answers it was trained on. *Goodhart's law*: along a sequence
of versions, or of best of N, the score that is optimised rises while a second model's falls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .statistics import Estimate, bootstrap, paired_bootstrap_difference, proportion

Floats = NDArray[np.float64]
KS_POINT = 1.3581
"""The 95% point of Kolmogorov's distribution."""


class Drift(NamedTuple):
    """Fresh scores against the scores of training answers."""

    shift: Estimate
    """Difference of the means, fresh less training, in standard deviations of the training scores."""
    outside: Estimate
    """Share of the fresh scores below the least or above the greatest training score."""
    ks_distance: float
    """Greatest distance between the two distribution functions, in [0, 1] (Kolmogorov and Smirnov)."""
    ks_by_chance: float
    """What the distance exceeds in 5% of the cases where nothing has drifted."""


class Step(NamedTuple):
    """From one version to a later one: how two reward models' mean scores change, and what to make of it."""

    first: Estimate
    second: Estimate
    verdict: Literal["alarm", "unconfirmed", "agree", "no rise"]
    """alarm: the first rises and the second falls, both intervals without 0. unconfirmed: the first rises, and the
    second's interval holds 0. agree: both rise. no rise: the first does not, so that there is nothing to confirm."""


def score_drift(training: ArrayLike, fresh: ArrayLike) -> Drift:
    """How far `fresh` (m,) scores lie from `training` (n,) scores of the same model, in any unit.

    The interval of the shift resamples both sides. It takes all scores as independent: give one answer a prompt.
    Raises ValueError where the training scores are all equal or either side is no list of numbers.
    """
    a, b = _scores(training, "training"), _scores(fresh, "fresh")
    spread = float(a.std(ddof=1)) if len(a) > 1 else 0.0
    if spread == 0:
        raise ValueError(f"the {len(a)} training scores are all equal: a drift has no unit there")
    outside = proportion(int(((b < a.min()) | (b > a.max())).sum()), len(b))
    chance = KS_POINT * math.sqrt((len(a) + len(b)) / (len(a) * len(b)))
    return Drift(_shift(a, b, spread), outside, ks_distance(a, b), min(1.0, chance))


def ks_distance(a: ArrayLike, b: ArrayLike) -> float:
    """max_x |F_a(x) - F_b(x)|, F the share of scores at most x (Kolmogorov and Smirnov's two-sample distance)."""
    x, y = np.sort(np.asarray(a, dtype=np.float64)), np.sort(np.asarray(b, dtype=np.float64))
    both = np.concatenate([x, y])
    at_most = [np.searchsorted(scores, both, side="right") / len(scores) for scores in (x, y)]
    return float(np.abs(at_most[0] - at_most[1]).max())


def goodhart_step(
    first_before: ArrayLike, first_after: ArrayLike, second_before: ArrayLike, second_after: ArrayLike
) -> Step:
    """Two reward models on two versions' answers to the same prompts in the same order, (n,) scores each."""
    first = paired_bootstrap_difference(first_after, first_before)
    second = paired_bootstrap_difference(second_after, second_before)
    return Step(first, second, goodhart_verdict(first, second))


def goodhart_verdict(first: Estimate, second: Estimate) -> Literal["alarm", "unconfirmed", "agree", "no rise"]:
    """The verdict on two changes of mean score, see `Step`."""
    if first.low <= 0:
        return "no rise"
    return "alarm" if second.high < 0 else "agree" if second.low > 0 else "unconfirmed"


def _shift(a: Floats, b: Floats, spread: float) -> Estimate:
    value = float((b.mean() - a.mean()) / spread)
    if len(b) == 1:
        return Estimate(value, -math.inf, math.inf, 1, math.inf)
    before = bootstrap(len(a), lambda counts: counts @ a / len(a), seed=1)
    after = bootstrap(len(b), lambda counts: counts @ b / len(b), seed=2)
    differences = (after - before) / spread
    low, high = np.quantile(differences, (0.025, 0.975))
    return Estimate(value, float(low), float(high), len(b), float(differences.std(ddof=1)))


def _scores(values: ArrayLike | Sequence[float], name: str) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"the {name} scores are no flat list of numbers, or there are none")
    return x
