"""Do counts fit shares? Pearson's chi-square test, with the tail of its distribution. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

TINY = 1e-300
PRECISION = 1e-15
MOST_TERMS = 100_000


class Fit(NamedTuple):
    """How well counts fit."""

    statistic: float
    degrees: int
    p: float
    """P(a statistic as large or larger), were the shares right."""


def chi_square_fit(counts: Sequence[float], shares: Sequence[float]) -> Fit:
    """Pearson's test (Pearson 1900) that `counts` were drawn with probabilities `shares`.

        X^2 = sum_i (c_i - n q_i)^2 / (n q_i),    n = sum c_i,    q_i = shares_i / sum shares

    Degrees of freedom are one less than the classes. The distribution is a limit: each n q_i should be 5 at least.
    Raises ValueError for lists of unequal length, fewer than two classes, no counts, or a share that is not positive.
    """
    if len(counts) != len(shares) or len(counts) < 2:
        raise ValueError(f"{len(counts)} counts and {len(shares)} shares: need two lists of one length, 2 at least")
    n, whole = sum(counts), sum(shares)
    if n <= 0 or min(shares) <= 0:
        raise ValueError(f"{n} counts for shares {list(shares)}: need counts, and shares above 0")
    expected = [n * share / whole for share in shares]
    statistic = sum((count - e) ** 2 / e for count, e in zip(counts, expected, strict=True))
    degrees = len(counts) - 1
    return Fit(statistic, degrees, chi_square_tail(statistic, degrees))


def chi_square_tail(statistic: float, degrees: int) -> float:
    """P(X^2 >= statistic) of the chi-square distribution: Q(a, x) with a = degrees / 2 and x = statistic / 2.

        P(a, x) = x^a e^-x / Gamma(a + 1) * sum_n x^n / ((a + 1) ... (a + n))                    for x < a + 1
        Q(a, x) = x^a e^-x / Gamma(a) * 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...))          elsewhere

    The incomplete gamma function by its series and by its continued fraction, evaluated by Lentz's method (Abramowitz
    and Stegun 1964, 6.5.29 and 6.5.31; Press et al. 1992, Numerical Recipes, section 6.2).
    """
    if statistic < 0 or degrees < 1:
        raise ValueError(f"statistic {statistic} with {degrees} degrees: need 0 or more, and 1 or more")
    a, x = degrees / 2, statistic / 2
    if x == 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    return 1 - front * _series(a, x) if x < a + 1 else front * _fraction(a, x)


def _series(a: float, x: float) -> float:
    """P(a, x) Gamma(a) / (x^a e^-x)."""
    term = total = 1 / a
    for n in range(1, MOST_TERMS):
        term *= x / (a + n)
        total += term
        if term < total * PRECISION:
            break
    return total


def _fraction(a: float, x: float) -> float:
    """Q(a, x) Gamma(a) / (x^a e^-x)."""
    b = x + 1 - a
    c, d = 1 / TINY, 1 / b
    value = d
    for n in range(1, MOST_TERMS):
        factor = -n * (n - a)
        b += 2
        d = 1 / _away_from_zero(factor * d + b)
        c = _away_from_zero(b + factor / c)
        value *= d * c
        if abs(d * c - 1) < PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
