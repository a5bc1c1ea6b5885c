"""Whether a probability means what it says: bins of predicted against observed shares, calibration error, Brier score.

Of pairs the probability is Bradley-Terry's, sigmoid(score of the favoured answer - score of the other), at least one
half, and the outcome is whether people preferred that answer too. Both sides of every pair say the same, so each is
counted once. Of single answers it is P(safe), sigmoid(score), and the outcome is whether people called the answer safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .pair_accuracy import mean_over_pairs, share_of_wins, unit_numbers
from .statistics import Estimate, bootstrap

Floats = NDArray[np.float64]

HALVINGS = 40
"""Of the interval that holds an inverse temperature, which is known to 1e-12 of its width then."""
TEMPERATURE_RESAMPLES = 200
"""Each fits a temperature anew."""
TINY = 1e-12
"""In place of a temperature of 0."""


class CalibrationBin(NamedTuple):
    """Predictions with low <= p < high (the last bin holds 1 too): their mean, and the share that came true."""

    low: float
    high: float
    number: int
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
    return _temperature(d, np.ones_like(d))


def temperature_with_interval(differences: ArrayLike, prompts: Sequence[str] | None = None) -> Estimate | None:
    """`temperature`, and the percentile interval of the bootstrap over prompts, which may reach 0 or infinity.

    None where no finite temperature above 0 fits best.
    """
    d = np.asarray(differences, dtype=np.float64)
    value = temperature(d)
    if not 0 < value < np.inf:
        return None
    units = unit_numbers(prompts, len(d))
    n = int(units.max()) + 1
    # One resample at a time: a ranking has many pairs a prompt, and all at once would not fit.
    found = bootstrap(
        n,
        lambda counts: np.array([_temperature(d, row[units]) for row in counts]),
        num_resamples=TEMPERATURE_RESAMPLES,
    )
    low, high = np.quantile(found, (0.025, 0.975), method="nearest")
    error = found.std(ddof=1) if np.isfinite(found).all() else np.inf
    return Estimate(value, float(low), float(high), n, float(error))


def cross_fitted(differences: ArrayLike, prompts: Sequence[str] | None = None, *, folds: int = 5) -> Floats | None:
    """Differences over a temperature that was fitted on the pairs of other prompts, (n,): what can be measured.

    On the pairs that it was fitted on, a temperature looks better than it is. None for fewer than two prompts.
    """
    d = np.asarray(differences, dtype=np.float64)
    units = unit_numbers(prompts, len(d))
    n = int(units.max(initial=-1)) + 1
    if n < 2:
        return None
    fold = (np.random.default_rng(0).permutation(n) % min(folds, n))[units]
    result = np.zeros_like(d)
    for part in np.unique(fold):
        fitted = max(temperature(d[fold != part]), TINY)
        result[fold == part] = d[fold == part] / fitted
    return result


def reliability(
    predicted: ArrayLike,
    outcomes: ArrayLike,
    prompts: Sequence[str] | None = None,
    *,
    low: float = 0.5,
    num_bins: int = 10,
) -> dict[str, Any]:
    """The table of bins, the calibration error beside that by chance, the Brier score. JSON-able."""
    bins = calibration_curve(predicted, outcomes, low=low, num_bins=num_bins, prompts=prompts)
    return {
        "expected_calibration_error": expected_calibration_error(predicted, outcomes, low=low, num_bins=num_bins),
        "error_by_chance": calibration_error_by_chance(predicted, low=low, num_bins=num_bins),
        "brier_score": brier_score(predicted, outcomes, prompts)._asdict(),
        "bins": [b._asdict() | {"observed": b.observed._asdict()} for b in bins],
    }


def _temperature(d: Floats, counts: Floats) -> float:
    """`temperature` of pairs that count `counts` (n,) times.

    The log-likelihood along 1 / T, sum_i c_i log sigmoid(d_i / T), is concave; its slope's root is found by halving.
    """

    def slope(scale: float) -> float:
        return float((counts * d / (1 + np.exp(np.clip(scale * d, -500, 500)))).sum())

    if not (counts * (d < 0)).any():
        return 0.0
    if slope(0.0) <= 0:
        return float("inf")
    low, high = 0.0, 1.0
    while slope(high) > 0:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
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
