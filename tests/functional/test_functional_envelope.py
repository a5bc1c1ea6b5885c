"""Long series made short: known buckets, no extreme lost, growth that changes the last bucket only."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from camelid.functional.envelope import bucket_size, envelope

finite = st.floats(-1e6, 1e6)


def test_buckets_of_two():
    low, mean, high, bad = envelope([1.0, 3.0, -2.0, 4.0, 7.0], 2)
    assert low == [1.0, -2.0, 7.0]
    assert mean == [2.0, 1.0, 7.0]  # (1 + 3) / 2, (-2 + 4) / 2, 7 alone
    assert high == [3.0, 4.0, 7.0]
    assert bad == [0, 0, 0]


def test_what_is_not_finite_is_counted_and_left_out():
    low, mean, high, bad = envelope([math.nan, 3.0, math.inf, -math.inf], 2)
    assert (low[0], mean[0], high[0]) == (3.0, 3.0, 3.0)
    assert all(math.isnan(values[1]) for values in (low, mean, high))
    assert bad == [1, 2]


def test_no_values_give_no_buckets():
    assert envelope([], 4) == ([], [], [], [])


def test_sizes_are_the_least_powers_of_two_that_suffice():
    assert [bucket_size(n, 4) for n in (0, 1, 4, 5, 8, 9, 16, 17)] == [1, 1, 1, 2, 2, 4, 4, 8]


@given(values=st.lists(finite, min_size=1, max_size=60), most=st.integers(2, 9))
def test_no_extreme_is_lost_and_no_more_buckets_than_wanted(values, most):
    low, mean, high, _ = envelope(values, bucket_size(len(values), most))
    assert len(mean) <= most
    assert (min(low), max(high)) == (min(values), max(values))
    assert all(a <= b + 1e-6 and b <= c + 1e-6 for a, b, c in zip(low, mean, high, strict=True))


@given(values=st.lists(finite, min_size=2, max_size=40), size=st.sampled_from([1, 2, 4]), more=st.integers(1, 20))
def test_whole_buckets_stay_when_the_series_grows(values, size, more):
    whole = (len(values) - 1) // size
    before, after = envelope(values, size), envelope(values + [0.0] * more, size)
    assert before.mean[:whole] == after.mean[:whole]
