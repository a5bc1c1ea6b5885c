"""Graded preferences, both orders as one, rank correlation: by hand."""

import math

import pytest

from camelid.functional.judging import both_orders, graded_preference, rank_correlation, side


def test_a_graded_preference_is_the_share_of_the_first_name():
    # P = 0.6 and 0.2 among others: 0.6 / 0.8.
    assert graded_preference(math.log(0.6), math.log(0.2)) == pytest.approx(0.75, abs=1e-12)
    assert graded_preference(-1.0, -math.inf) == 1
    assert graded_preference(-math.inf, -1.0) == 0
    assert graded_preference(-2000.0, -1000.0) == 0  # exp() of the gap would overflow
    assert graded_preference(-1000.0, -2000.0) == 1
    assert graded_preference(-3.0, -1.0) + graded_preference(-1.0, -3.0) == pytest.approx(1)


@pytest.mark.parametrize("logprobs", [(-math.inf, -math.inf), (math.nan, -1.0)])
def test_neither_name_is_no_preference(logprobs):
    with pytest.raises(ValueError, match="name neither answer"):
        graded_preference(*logprobs)


@pytest.mark.parametrize(
    ("shown_first", "shown_last", "together"),
    [
        (1, 1, 1),
        (0, 0, 0),
        (1, 0, 0.5),  # the place decided
        (1, 0.5, 0.5),
        (0.5, 0.5, 0.5),
        (0.9, 0.7, 0.8),
        (0.9, 0.4, 0.5),
        (0.2, 0.1, 0.15),
    ],
)
def test_both_orders(shown_first, shown_last, together):
    assert both_orders(shown_first, shown_last) == pytest.approx(together)
    assert both_orders(1 - shown_first, 1 - shown_last) == pytest.approx(1 - together)  # no side is favoured
    assert side(together) == -side(1 - together)


def test_rank_correlation_by_hand():
    # Ranks of x: 1 2 3 4 5, of y: 1 3 2 5 4; squared differences 0 1 1 1 1, rho = 1 - 6 * 4 / (5 * 24) = 0.8.
    estimate = rank_correlation([1, 2, 3, 10, 99], [0.1, 0.3, 0.2, 5, 4])
    assert estimate.value == pytest.approx(0.8)
    # tanh(atanh(.8) +- 1.96 sqrt(1.32 / 2)) = tanh(1.0986 +- 1.5923)
    assert (estimate.low, estimate.high) == pytest.approx((math.tanh(-0.4937), math.tanh(2.6909)), abs=1e-4)
    assert estimate.n == 5


def test_rank_correlation_shares_ranks_and_knows_when_there_is_nothing():
    # Outcomes 0 0 1 1 rank 1.5 1.5 3.5 3.5; with 1 2 3 4: covariance 4, variances 5 and 4: 4 / sqrt(20).
    assert rank_correlation([1, 2, 3, 4], [0, 0, 1, 1]).value == pytest.approx(4 / math.sqrt(20))
    perfect = rank_correlation([1, 2, 3, 4], [1, 2, 3, 4])
    assert (perfect.value, perfect.high) == (pytest.approx(1), pytest.approx(1))
    assert rank_correlation([1, 2, 3], [1, 2, 3]) is None
    assert rank_correlation([1, 2, 3, 4], [1, 1, 1, 1]) is None
    with pytest.raises(ValueError, match="one length"):
        rank_correlation([1, 2], [1, 2, 3])
