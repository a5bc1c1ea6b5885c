"""Do raters agree, and by more than chance? Gwet's AC1 and AC2, Fleiss' and Cohen's kappa; LIMA's credit for ties.

All coefficients, Krippendorff's alpha (krippendorff.py) among them, are (observed - expected) / (1 - expected); they
differ in what chance would give. Each formula takes `counts`, (N, Q): how many raters gave item i the label q. Raters
may differ from item to item, and a missing rating is one that is not counted. `draws`, (R, N), says how often each item
counts: ones for the value itself, a row a resample for its interval. Each returns `Chance`, the two parts, (R,) each.
`coefficient` makes a number with its interval of them:

    coefficient(counts, lambda draws: gwet_ac1(counts, draws))

Left out: inference over raters (intervals here are about other items, judged by the same people). Numpy only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .statistics import Z95, bootstrap, proportion

Floats = NDArray[np.float64]
Weighting = Literal["linear", "quadratic", "ordinal"]
CERTAIN = 1 - 1e-12
"""Expected agreement from here on is 1 but for rounding."""
LEAST_DEFINED = 0.95
"""Share of resamples in which a coefficient must exist for its interval to be given."""


class Chance(NamedTuple):
    """Observed agreement and that expected by chance, (R,) each; NaN where there is nothing to compare."""

    observed: Floats
    expected: Floats


class Coefficient(NamedTuple):
    """A coefficient with its 95% interval; None where it is not defined, and then `reason` says why."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Items with at least two ratings."""
    standard_error: float | None
    reason: str = ""


def coefficient(counts: Floats, formula: Callable[[Floats], Chance], *, seed: int = 0) -> Coefficient:
    """Value, and percentile interval of the bootstrap over items (Efron and Tibshirani 1993, chapter 13).

    Where all raters agree on every item, the bootstrap would claim certainty: the lower bound is then that of Wilson's
    interval for n agreements out of n, put through the formula in place of the observed agreement.
    """
    n = int((counts.sum(1) >= 2).sum())
    if not n:
        return _undefined(n, "no item has two ratings")
    observed, expected = (float(part[0]) for part in formula(np.ones((1, len(counts)))))
    if not expected < CERTAIN:
        same = "all ratings are the same label, so " if (counts.sum(0) > 0).sum() < 2 else ""
        return _undefined(n, f"{same}agreement by chance is certain and the value is 0/0")
    value = (observed - expected) / (1 - expected)
    if observed >= CERTAIN:
        bound = proportion(n, n)
        low = (bound.low - expected) / (1 - expected)
        return Coefficient(value, low, value, n, (value - low) / Z95)
    resampled = bootstrap(len(counts), lambda draws: _ratio(formula(draws)), seed=seed)
    defined = resampled[np.isfinite(resampled)]
    if len(defined) < LEAST_DEFINED * len(resampled) or n < 2:
        return Coefficient(value, None, None, n, None, f"no interval: {n} items are too few for a bootstrap")
    low, high = np.quantile(defined, (0.025, 0.975))
    return Coefficient(value, float(low), float(high), n, float(defined.std(ddof=1)))


def ordered_weights(scores: Floats, weighting: Weighting) -> Floats:
    """Credit for two labels that differ, (Q, Q), 1 on the diagonal and 0 for the ends of the scale; `scores` ascend.

        linear     1 - |x_k - x_l| / (x_max - x_min)
        quadratic  1 - (x_k - x_l)^2 / (x_max - x_min)^2
        ordinal    1 - C(|k - l| + 1, 2) / C(Q, 2),       by rank alone

    Linear: Cicchetti and Allison 1971. Quadratic: Fleiss and Cohen 1973. Ordinal, and all three in one notation: Gwet
    2014, Handbook of Inter-Rater Reliability, 4th edition.
    """
    if weighting == "ordinal":
        ranks = np.arange(len(scores), dtype=np.float64)
        steps = np.abs(ranks[:, None] - ranks)
        distance = steps * (steps + 1) / 2
    else:
        distance = np.abs(scores[:, None] - scores) ** (1 if weighting == "linear" else 2)
    return 1 - distance / max(float(distance.max()), 1e-300)


def tie_weights(labels: int, tie: int | None) -> Floats:
    """LIMA's credit, (Q, Q): 1 for the same verdict, one half where exactly one of two is a tie, else 0.

    Zhou et al. 2023 (arXiv:2305.11206), section 4.1, 'tie-discounted accuracy'. `tie`: index of the tie, None for none.
    """
    weights = np.eye(labels)
    if tie is not None:
        weights[tie, :] = weights[:, tie] = 0.5
        weights[tie, tie] = 1
    return weights


def gwet_ac1(counts: Floats, draws: Floats) -> Chance:
    """Gwet's AC1 (Gwet 2008, 'Computing inter-rater reliability and its variance in the presence of high agreement').

        expected = sum_k pi_k (1 - pi_k) / (Q - 1),   pi_k: mean over items of the share of raters who said k

    Unlike kappa it does not fall apart where nearly all items get one label. Q is the number of labels on the scale,
    used or not; with one label nothing can be said.
    """
    return gwet_ac2(counts, np.eye(counts.shape[1]), draws)


def gwet_ac2(counts: Floats, weights: Floats, draws: Floats) -> Chance:
    """AC1 with partial credit for labels that are close (Gwet 2014, Handbook, 4th edition).

        observed = mean over items with r_i >= 2 of  sum_k r_ik (r*_ik - 1) / (r_i (r_i - 1)),   r*_ik = sum_l w_kl r_il
        expected = sum_kl w_kl / (Q (Q - 1)) * sum_k pi_k (1 - pi_k)

    `weights`: (Q, Q), 1 on the diagonal. Items with one rating count in pi only.
    """
    q = counts.shape[1]
    shares = _label_shares(counts, draws)
    spread = (shares * (1 - shares)).sum(1)
    expected = weights.sum() / (q * (q - 1)) * spread if q > 1 else np.ones(len(draws))
    return Chance(observed_agreement(counts, weights, draws), expected)


def fleiss_kappa(counts: Floats, draws: Floats) -> Chance:
    """Fleiss' kappa (Fleiss 1971, 'Measuring nominal scale agreement among many raters').

        expected = sum_k pi_k^2

    With missing ratings, pi_k and the observed agreement are means over items as in `gwet_ac2` (Gwet 2014).
    """
    shares = _label_shares(counts, draws)
    return Chance(observed_agreement(counts, np.eye(counts.shape[1]), draws), (shares**2).sum(1))


def cohen_kappa(first: Floats, second: Floats, draws: Floats) -> Chance:
    """Cohen's kappa of two raters, each with habits of their own (Cohen 1960, 'A coefficient of agreement for nominal
    scales').

    expected = sum_k p_1k p_2k;   `first`, `second`: (N, Q), 1 where the rater gave item i the label q
    """
    n = draws.sum(1)
    observed = draws @ (first * second).sum(1) / n
    return Chance(observed, ((draws @ first) * (draws @ second)).sum(1) / n**2)


def observed_agreement(counts: Floats, weights: Floats, draws: Floats) -> Floats:
    """Mean over items of the mean credit of two different raters' labels, (R,); NaN where no item has two ratings."""
    raters = counts.sum(1)
    twice = raters >= 2
    pairs = np.where(twice, raters * (raters - 1), 1)
    shares = np.where(twice, (counts * (counts @ weights - 1)).sum(1) / pairs, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return draws @ shares / (draws @ twice.astype(np.float64))


def _label_shares(counts: Floats, draws: Floats) -> Floats:
    """pi_k, (R, Q): mean over rated items of the share of raters who gave label k."""
    raters = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(raters, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return draws @ shares / (draws @ (raters > 0).astype(np.float64))


def _ratio(chance: Chance) -> Floats:
    """(R,), NaN where a resample leaves the coefficient undefined."""
    defined = np.isfinite(chance.observed) & (chance.expected < CERTAIN)
    return np.where(defined, (chance.observed - chance.expected) / np.where(defined, 1 - chance.expected, 1), np.nan)


def _undefined(n: int, reason: str) -> Coefficient:
    return Coefficient(None, None, None, n, None, reason)
