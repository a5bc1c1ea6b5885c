"""What replies of a judge add up to: graded preferences, both orders as one, correlation with length. Numpy only."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .statistics import Z95, Estimate


def graded_preference(first_logprob: float, second_logprob: float) -> float:
    """Probability of naming the first answer, among naming the first or the second:

        p = exp(l_1) / (exp(l_1) + exp(l_2))

    from the log-probabilities of the two answers' names as the reply's first token, in [0, 1]. AlpacaEval 2 records
    2 - p (github.com/tatsu-lab/alpaca_eval, `logprob_parser` without binarizing). -inf stands for a name that is not
    among the tokens that the server lists. Raises ValueError where both are -inf: then the judge named neither.
    """
    if max(first_logprob, second_logprob) == -math.inf or math.isnan(first_logprob + second_logprob):
        raise ValueError(f"log-probabilities {first_logprob} and {second_logprob} name neither answer")
    gap = second_logprob - first_logprob  # of either sign, and perhaps infinite: exp only ever sees a number <= 0
    return 1 / (1 + math.exp(gap)) if gap <= 0 else math.exp(-gap) / (1 + math.exp(-gap))


def side(preference: float) -> int:
    """1 where a preference is for the first, -1 where it is for the second, 0 for a tie."""
    return int(np.sign(preference - 0.5))


def both_orders(shown_first: float, shown_last: float) -> float:
    """One preference out of two, each for the same answer: where it was shown first, and where it was shown last.

    Their mean where both are on the same side of one half; a tie, 0.5, where they are not, since then the place
    decided. Verdicts (0, 0.5, 1) thus stay what they are or become ties, as in MT-bench (Zheng et al. 2023, section
    3.4). AlpacaEval shows each pair in one order only, drawn at random.
    """
    same = side(shown_first) == side(shown_last)
    return (shown_first + shown_last) / 2 if same else 0.5


def rank_correlation(x: ArrayLike, y: ArrayLike) -> Estimate | None:
    """Spearman's correlation of two variables measured on the same units, with a 95% interval.

        rho = Pearson's correlation of the ranks (equal values share their mean rank)
        interval = tanh(atanh(rho) +- z sqrt((1 + rho^2 / 2) / (n - 3)))    (Bonett and Wright 2000)

    Standard error by the same formula times the slope of tanh, 1 - rho^2. None for fewer than 4 units or where one of
    the variables never changes: there is nothing to correlate.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"values of shape {a.shape} against {b.shape}: need two flat lists of one length")
    n = len(a)
    if n < 4 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    rho = float(np.clip(np.corrcoef(_ranks(a), _ranks(b))[0, 1], -1, 1))
    error = math.sqrt((1 + rho**2 / 2) / (n - 3))
    centre = math.atanh(min(max(rho, -1 + 1e-12), 1 - 1e-12))
    low, high = math.tanh(centre - Z95 * error), math.tanh(centre + Z95 * error)
    return Estimate(rho, min(low, rho), max(high, rho), n, error * (1 - rho**2))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[where]
