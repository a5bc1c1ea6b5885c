import math

import numpy as np
import pytest

from camelid.functional.statistics import (
    bootstrap_mean,
    correlation,
    paired_bootstrap_difference,
    proportion,
    win_rate,
)


def test_wilson_interval_of_a_textbook_case():
    # p = 0.1, n = 10: centre (0.1 + 0.192073) / 1.384146 = 0.211013, half width 1.959964 *
    # sqrt(0.009 + 0.0096036) / 1.384146 = 0.193136; so 0.017876 to 0.404150.
    estimate = proportion(1, 10)
    assert estimate.value == 0.1
    assert (estimate.low, estimate.high) == pytest.approx((0.017876, 0.404150), abs=2e-6)
    assert estimate.n == 10


def test_proportions_of_0_and_100_percent_are_not_certain():
    none, all_of_them = proportion(0, 20), proportion(20, 20)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(0.16113, abs=1e-5)  # z^2 / (n + z^2) = 3.841459 / 23.841459
    assert (all_of_them.value, all_of_them.high) == (1.0, 1.0)
    assert all_of_them.low == pytest.approx(1 - 0.16113, abs=1e-5)
    assert none.standard_error == all_of_them.standard_error > 0


def test_wilson_interval_covers_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(0)
    for truth in (0.02, 0.3, 0.9):
        intervals = [proportion(int(k), 60) for k in generator.binomial(60, truth, size=2000)]
        assert 0.92 < np.mean([e.low <= truth <= e.high for e in intervals]) < 0.99


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_proportions_are_errors(successes, n):
    with pytest.raises(ValueError, match="successes"):
        proportion(successes, n)


def test_bootstrap_interval_agrees_with_the_normal_one_on_many_values():
    values = np.random.default_rng(1).normal(5.0, 2.0, size=400)
    estimate = bootstrap_mean(values, num_resamples=4000)
    error = values.std(ddof=1) / 20  # sqrt(400)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.standard_error == pytest.approx(error)
    assert (estimate.low, estimate.high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.15 * error
    )


def test_bootstrap_is_repeatable_and_its_seed_matters():
    values = list(range(30))
    assert bootstrap_mean(values) == bootstrap_mean(values)
    assert bootstrap_mean(values).low != bootstrap_mean(values, seed=1).low


def test_one_value_has_no_spread_and_none_or_nan_is_an_error():
    assert bootstrap_mean([3.0]) == (3.0, -math.inf, math.inf, 1, math.inf)
    with pytest.raises(ValueError, match="non-empty"):
        bootstrap_mean([])
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        bootstrap_mean([1.0, math.nan])


def test_pairing_removes_what_is_hard_for_both():
    generator = np.random.default_rng(2)
    difficulty = generator.normal(0.0, 10.0, size=100)
    a, b = difficulty + generator.normal(0.5, 0.5, size=100), difficulty + generator.normal(0.0, 0.5, size=100)
    paired = paired_bootstrap_difference(a, b)
    assert paired.low > 0  # seen in pairs, invisible next to a standard error of 1 for each mean
    assert bootstrap_mean(a).low < bootstrap_mean(b).value
    assert paired.value == pytest.approx(a.mean() - b.mean())
    with pytest.raises(ValueError, match="same units"):
        paired_bootstrap_difference([1.0], [1.0, 2.0])


def test_win_rate_counts_ties_one_half():
    estimate = win_rate([1.0, 0.5, 0.0, 1.0])
    assert estimate.value == 0.625
    assert estimate.n == 4
    # deviations 0.375, -0.125, -0.625, 0.375: variance 0.6875 / 3, over 4, root
    assert estimate.standard_error == pytest.approx(math.sqrt(0.6875 / 3 / 4))
    assert estimate.low < 0.625 < estimate.high


@pytest.mark.parametrize("outcome", [0.0, 0.5, 1.0])
def test_equal_outcomes_still_have_an_interval(outcome):
    estimate = win_rate([outcome] * 20)
    assert estimate.value == outcome
    assert estimate.high - estimate.low > 0.15
    assert estimate.standard_error > 0


def test_outcomes_outside_0_to_1_are_errors():
    with pytest.raises(ValueError, match=r"outcomes run from 1\.0 to 2\.0"):
        win_rate([1.0, 2.0])


def test_correlation_of_a_hand_computed_case():
    # Means 2.5 and 2.5; products of deviations 2.25 - 0.25 - 0.25 + 2.25 = 4; squares 5 and 5: r = 0.8.
    estimate = correlation([1, 2, 3, 4], [1, 3, 2, 4])
    assert estimate.value == pytest.approx(0.8)
    # atanh 0.8 = 1.098612; -+ 1.959964 / sqrt(1): tanh(-0.861352) = -0.696953, tanh(3.058576) = 0.995600
    assert (estimate.low, estimate.high) == pytest.approx((-0.696953, 0.995600), abs=1e-6)
    assert estimate.standard_error == pytest.approx(0.36 / math.sqrt(3))


def test_correlation_where_it_has_no_meaning():
    assert correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None
    assert correlation([1, 2, 3], [1, 2, 3]) is None
    assert correlation(range(10), range(10)).value == pytest.approx(1)
    with pytest.raises(ValueError, match="pairs"):
        correlation([1, 2], [1])
