"""Gains at equal length: by a line that is known, by simulation, and where there is none."""

import numpy as np
import pytest

from camelid.functional.equal_length import gain_at_equal_length


def test_a_gain_that_length_alone_bought_is_none():
    lengths = np.array([1.0, 5, -3, 8, 2, 0, 4])
    bought = gain_at_equal_length(0.25 * lengths, lengths)
    assert bought.value == pytest.approx(0, abs=1e-12) and bought.n == 7
    assert gain_at_equal_length(2 + 0.25 * lengths, lengths).value == pytest.approx(2)


def test_its_interval_holds_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        lengths = draw.normal(10, 5, 120)
        found = gain_at_equal_length(0.5 + 0.1 * lengths + draw.normal(0, 0.2 + 0.1 * abs(lengths), 120), lengths)
        inside += found.low < 0.5 < found.high
    assert 0.92 < inside / 400 < 0.98


def test_equal_lengths_leave_the_mean():
    found = gain_at_equal_length([1, 2, 3, 6], [0, 0, 0, 0])
    assert found.value == 3 and found.standard_error == pytest.approx(np.std([1, 2, 3, 6], ddof=1) / 2)
    with pytest.raises(ValueError, match="all answers differ in length by 4"):
        gain_at_equal_length([1, 2, 3], [4, 4, 4])
    with pytest.raises(ValueError, match="2 gains and 2 differences"):
        gain_at_equal_length([1, 2], [0, 1])
