"""The chi-square test: tails from tables, statistics worked out by hand."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from camelid.functional.chi_square import chi_square_fit, chi_square_tail


@pytest.mark.parametrize(
    ("statistic", "degrees", "p"),
    [  # printed tables: Abramowitz and Stegun 1964, table 26.8
        (3.84146, 1, 0.05),
        (6.63490, 1, 0.01),
        (9.48773, 4, 0.05),
        (15.0863, 5, 0.01),
        (20.0902, 8, 0.01),
        (124.342, 100, 0.05),
        (2.73264, 8, 0.95),
    ],
)
def test_the_tail_is_the_tables(statistic, degrees, p):
    assert chi_square_tail(statistic, degrees) == pytest.approx(p, rel=2e-5)


@pytest.mark.parametrize("x", [0.01, 1.0, 2.9, 3.1, 17.0, 300.0])
def test_where_the_tail_has_a_closed_form(x):
    assert chi_square_tail(x, 2) == pytest.approx(math.exp(-x / 2), rel=1e-12)
    assert chi_square_tail(x, 4) == pytest.approx(math.exp(-x / 2) * (1 + x / 2), rel=1e-12)
    assert chi_square_tail(x, 1) == pytest.approx(math.erfc(math.sqrt(x / 2)), rel=1e-11)
    assert chi_square_tail(0, 3) == 1


def test_a_fit_worked_out_by_hand():
    # A die thrown 60 times: 10 expected each, squares 25 + 4 + 1 + 4 + 1 + 25 = 60, over 10 is 6.
    fit = chi_square_fit([5, 8, 9, 12, 11, 15], [1] * 6)
    assert (fit.statistic, fit.degrees) == (pytest.approx(6.0), 5)
    assert fit.p == pytest.approx(0.30622, abs=1e-5)
    # Shares 3 : 1 of 40: 30 and 10 expected, (36 - 30)^2 / 30 + (4 - 10)^2 / 10 = 1.2 + 3.6
    assert chi_square_fit([36, 4], [3, 1]).statistic == pytest.approx(4.8)


def test_right_shares_are_refused_as_often_as_p_says():
    stream = random.Random(0)
    fits = [chi_square_fit(list(Counter(stream.choices(range(5), k=200)).values()), [1] * 5) for _ in range(2000)]
    assert sum(fit.p < 0.05 for fit in fits) == pytest.approx(100, abs=30)  # 3 standard errors of 9.7


def test_what_cannot_be_tested_is_said():
    with pytest.raises(ValueError, match="3 counts and 2 shares"):
        chi_square_fit([1, 2, 3], [1, 1])
    with pytest.raises(ValueError, match="0 counts for shares"):
        chi_square_fit([0, 0], [1, 1])
    with pytest.raises(ValueError, match="shares above 0"):
        chi_square_fit([1, 2], [1, 0])
    with pytest.raises(ValueError, match="statistic -1"):
        chi_square_tail(-1, 1)
