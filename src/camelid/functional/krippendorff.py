"""Krippendorff's alpha for nominal, ordinal and interval labels, any number of raters, missing ratings.

Source: Krippendorff 2011, 'Computing Krippendorff's alpha-reliability'; its example of 12 units is in the tests. For
shapes, and how a number with its interval is made of a formula, see agreement.py. Left out: ratio and polar distances.
"""

from __future__ import annotations

import numpy as np

from .agreement import Chance, Floats


def krippendorff_nominal(counts: Floats, draws: Floats) -> Chance:
    """Krippendorff's alpha = 1 - D_o / D_e for labels without order (Krippendorff 2011).

    o_ck = sum over items with m_u >= 2 of  n_uc (n_uk - [c = k]) / (m_u - 1),   n_c = sum_k o_ck,   n = sum_c n_c
    observed = sum_c o_cc / n,   expected = sum_c n_c (n_c - 1) / (n (n - 1))
    """
    coincidences, totals = _coincidences(counts, draws)
    n = totals.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.trace(coincidences, axis1=1, axis2=2) / n
        return Chance(observed, (totals * (totals - 1)).sum(1) / (n * (n - 1)))


def krippendorff_interval(counts: Floats, scores: Floats, draws: Floats) -> Chance:
    """Alpha with the squared distance of `scores` (Q,) between labels (Krippendorff 2011).

    Agreement is 1 less the disagreement in parts of the largest distance on the scale, which cancels in alpha.
    """
    coincidences, totals = _coincidences(counts, draws)
    return _metric_alpha(coincidences, totals, np.broadcast_to(scores, totals.shape))


def krippendorff_ordinal(counts: Floats, draws: Floats) -> Chance:
    """Alpha for ordered labels (Krippendorff 2011): the distance of c and k is the number of ratings between
    them, (sum_{g=c..k} n_g - (n_c + n_k) / 2)^2, which is that of their mid-ranks."""
    coincidences, totals = _coincidences(counts, draws)
    return _metric_alpha(coincidences, totals, np.cumsum(totals, axis=1) - totals / 2)


def _coincidences(counts: Floats, draws: Floats) -> tuple[Floats, Floats]:
    """o_ck, (R, Q, Q), and n_c, (R, Q)."""
    raters = counts.sum(1)
    q = counts.shape[1]
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(q)  # (N, Q, Q)
    pairs *= np.where(raters >= 2, 1 / np.maximum(raters - 1, 1), 0)[:, None, None]
    summed = (draws @ pairs.reshape(len(counts), q * q)).reshape(-1, q, q)
    return summed, summed.sum(2)


def _metric_alpha(coincidences: Floats, totals: Floats, x: Floats) -> Chance:
    """D_o and D_e for squared distances of x, (R, Q), as agreement."""
    n = totals.sum(1)
    squares = (totals * x**2).sum(1)
    within = 2 * squares - 2 * np.einsum("rck,rc,rk->r", coincidences, x, x)
    between = 2 * n * squares - 2 * (totals * x).sum(1) ** 2
    largest = np.maximum(np.ptp(x, axis=1) ** 2, 1e-300)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Chance(1 - within / n / largest, 1 - between / (n * (n - 1)) / largest)
