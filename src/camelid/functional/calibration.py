"""Whether a probability means what it says: bins of predicted against observed shares, calibration error, Brier score.

For a reward model the probability is Bradley-Terry's, sigmoid(score of the favoured answer - score of the other), at
least one half, and the outcome is whether people preferred that answer too. Both sides of every pair say the same, so
each is counted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .pair_accuracy import mean_over_pairs, share_of_wins
from .statistics import Estimate

Floats = NDArray[np.float64]


class CalibrationBin(NamedTuple):
    """Predictions with low <= p < high (the last bin holds 1 too): their mean, and the share that came true."""

    low: float
    high: float
    num_pairs: int
    predicted: float
    observed: Estimate


def confidences(differences: ArrayLike) -> tuple[Floats, Floats]:
    """(p, came true) of pairs from score(chosen) - score(rejected), (n,) in logits: p = sigmoid(|d|).

    It came true where d > 0, did not where d < 0, and half at 0, where p is one half too.
    """
    d = np.asarray(differences, dtype=np.float64)
    return 1 / (1 + np.exp(-np.abs(d))), 0.5 + 0.5 * np.sign(d)


def calibration_curve(
    predicted: ArrayLike,
    outcomes: ArrayLike,
    *,
    low: float = 0.5,
    num_bins: int = 10,
    prompts: Sequence[str] | None = None,
) -> list[CalibrationBin]:
    """Equal bins of [low, 1], empty ones left out. `predicted`, `outcomes`: (n,), in [low, 1] and [0, 1].

    `prompts` names the independent unit of each pair, for the intervals (`pair_accuracy.share_of_wins`).
    """
    p, y = _checked(predicted, outcomes, low)
    place = _places(p, low, num_bins)
    width = (1 - low) / num_bins
    bins = []
    for i in range(num_bins):
        mine = place == i
        if mine.any():
            units = None if prompts is None else [prompts[j] for j in np.flatnonzero(mine).tolist()]
            observed = share_of_wins(y[mine], units)
            bins.append(
                CalibrationBin(low + i * width, low + (i + 1) * width, int(mine.sum()), float(p[mine].mean()), observed)
            )
    return bins


def expected_calibration_error(
    predicted: ArrayLike, outcomes: ArrayLike, *, low: float = 0.5, num_bins: int = 10
) -> float:
    """sum_b (n_b / n) |observed_b - predicted_b|, in [0, 1] (Guo et al. 2017, arXiv:1706.04599, eq. 3)."""
    p, y = _checked(predicted, outcomes, low)
    sums = np.bincount(_places(p, low, num_bins), weights=y - p, minlength=num_bins)
    return float(np.abs(sums).sum() / len(p))


def calibration_error_by_chance(
    predicted: ArrayLike, *, low: float = 0.5, num_bins: int = 10, num_draws: int = 500, seed: int = 0
) -> float:
    """The calibration error that these predictions would show on average if each were exactly right.

    The error sums absolute values, so chance alone makes it positive; only what exceeds this is miscalibration.
    Outcomes are drawn as Bernoulli(p), independent.
    """
    p, _ = _checked(predicted, predicted, low)
    generator = np.random.default_rng(seed)
    errors = [
        expected_calibration_error(p, (generator.random(len(p)) < p).astype(np.float64), low=low, num_bins=num_bins)
        for _ in range(num_draws)
    ]
    return float(np.mean(errors))


def brier_score(predicted: ArrayLike, outcomes: ArrayLike, prompts: Sequence[str] | None = None) -> Estimate:
    """Mean of (p - y)^2 (Brier 1950), in [0, 1]; 0.25 for whoever always says one half. Resamples prompts."""
    p, y = _checked(predicted, outcomes, 0.0)
    return mean_over_pairs((p - y) ** 2, prompts)


def temperature(differences: ArrayLike) -> float:
    """T at which sigmoid(d / T) fits best, by likelihood (Guo et al. 2017, section 4.2): above 1 says overconfident.

    `differences`: (n,), score(chosen) - score(rejected) in logits. Infinite where the scores order the pairs no better
    than chance, 0 where they order all of them right: then no finite scale fits best.
    """
    d = np.asarray(differences, dtype=np.float64)

    def slope(scale: float) -> float:  # of the log-likelihood along 1 / T, falling
        return float((d / (1 + np.exp(np.clip(scale * d, -500, 500)))).sum())

    if (d >= 0).all():
        return 0.0
    if slope(0.0) <= 0:
        return float("inf")
    low, high = 0.0, 1.0
    while slope(high) > 0:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return 1 / high


def _places(p: Floats, low: float, num_bins: int) -> NDArray[np.intp]:
    return np.minimum(((p - low) / (1 - low) * num_bins).astype(np.intp), num_bins - 1)


def _checked(predicted: ArrayLike, outcomes: ArrayLike, low: float) -> tuple[Floats, Floats]:
    p, y = np.asarray(predicted, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    if p.ndim != 1 or p.shape != y.shape or not len(p):
        raise ValueError(
            f"predictions of shape {p.shape} against outcomes of shape {y.shape}: need two equal flat lists"
        )
    if not (p >= low).all() or not (p <= 1).all():
        raise ValueError(f"predictions run from {p.min()} to {p.max()}; they must lie in [{low}, 1]")
    return p, y
