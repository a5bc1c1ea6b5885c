"""The bimodality coefficient of distributions whose moments are known."""

import numpy as np
import pytest

from camelid.functional.bimodality import bimodality_coefficient


def test_known_distributions():
    assert bimodality_coefficient([-1.0, 1.0] * 50).value == pytest.approx(1.0)
    # A thousand evenly spaced values: the uniform distribution's (0 + 1) / (9 / 5), but for 1 / n^2.
    assert bimodality_coefficient(np.linspace(-3, 5, 1000)).value == pytest.approx(5 / 9, abs=1e-5)
    normal = np.random.default_rng(0).normal(7, 3, 20_000)
    assert bimodality_coefficient(normal).value == pytest.approx(1 / 3, abs=0.01)


def test_two_points_in_any_shares_have_one():
    # Three of four at 0, one at 1: skewness 2 / sqrt(3), kurtosis 7 / 3, (4 / 3 + 1) / (7 / 3).
    assert bimodality_coefficient([0, 0, 0, 1] * 5).value == pytest.approx(1.0)


def test_two_heaps_are_above_a_uniform_and_the_interval_says_so():
    generator = np.random.default_rng(1)
    heaps = np.concatenate([generator.normal(-2, 0.7, 200), generator.normal(2, 0.7, 200)])
    found = bimodality_coefficient(heaps)
    assert found.low > 5 / 9
    assert found.low < found.value < found.high and found.n == 400


def test_values_of_one_unit_count_as_one_draw():
    generator = np.random.default_rng(2)
    values = np.repeat(generator.normal(0, 1, 40), 10) + generator.normal(0, 0.01, 400)
    alone, together = bimodality_coefficient(values), bimodality_coefficient(values, [str(i // 10) for i in range(400)])
    assert together.value == pytest.approx(alone.value) and together.n == 40
    assert together.standard_error > 2 * alone.standard_error


def test_neither_place_nor_scale_matter_and_a_constant_has_none():
    values = np.random.default_rng(3).gamma(2, 1, 300)
    assert bimodality_coefficient(1e4 + 0.01 * values).value == pytest.approx(bimodality_coefficient(values).value)
    assert bimodality_coefficient([2.5, 2.5]) is None
