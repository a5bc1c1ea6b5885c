"""Calibration: bins and errors by hand, and that a calibrated model is told from an overconfident one."""

import math

import numpy as np
import pytest

from camelid.functional.calibration import (
    brier_score,
    calibration_curve,
    calibration_error_by_chance,
    confidences,
    cross_fitted,
    expected_calibration_error,
    reliability,
    temperature,
    temperature_with_interval,
)


def calibrated(n: int, scale: float = 1.0) -> np.ndarray:
    """Score differences whose sigmoid is the chance that they are right, times `scale`."""
    generator = np.random.default_rng(0)
    size = generator.exponential(1.5, n)
    right = generator.random(n) < 1 / (1 + np.exp(-size))
    return scale * np.where(right, size, -size)


def test_confidence_is_of_the_favoured_answer():
    p, came_true = confidences([math.log(3), -math.log(3), 0.0])
    assert p.tolist() == pytest.approx([0.75, 0.75, 0.5])  # sigmoid(ln 3) = 3 / 4
    assert came_true.tolist() == [1.0, 0.0, 0.5]


def test_curve_and_error_by_hand():
    # Two bins, [0.5, 0.75) and [0.75, 1]: predicted 0.6 and 0.7 (mean 0.65), one of two right: off by 0.15.
    # Predicted 0.75 and 1 (mean 0.875), both right: off by 0.125. Error (2 * 0.15 + 2 * 0.125) / 4 = 0.1375.
    predicted, outcomes = [0.6, 0.7, 0.75, 1.0], [1.0, 0.0, 1.0, 1.0]
    bins = calibration_curve(predicted, outcomes, num_bins=2)
    assert [(b.low, b.high, b.number) for b in bins] == [(0.5, 0.75, 2), (0.75, 1.0, 2)]
    assert [b.predicted for b in bins] == pytest.approx([0.65, 0.875])
    assert [b.observed.value for b in bins] == [0.5, 1.0]
    assert expected_calibration_error(predicted, outcomes, num_bins=2) == pytest.approx(0.1375)
    # (0.4^2 + 0.7^2 + 0.25^2 + 0) / 4 = (0.16 + 0.49 + 0.0625) / 4
    assert brier_score(predicted, outcomes).value == pytest.approx(0.178125)


def test_pairs_of_one_prompt_widen_the_interval_of_the_brier_score():
    predicted, outcomes = [0.9] * 40, [1.0] * 20 + [0.0] * 20
    alone = brier_score(predicted, outcomes)
    together = brier_score(predicted, outcomes, [str(i // 10) for i in range(40)])  # four prompts, not forty
    assert together.value == pytest.approx(alone.value)
    assert together.standard_error > 2 * alone.standard_error


def test_empty_bins_are_left_out():
    assert [b.number for b in calibration_curve([0.5, 0.99], [1, 1])] == [1, 1]


def test_what_is_calibrated_errs_as_chance_does():
    predicted, outcomes = confidences(calibrated(4000))
    error = expected_calibration_error(predicted, outcomes)
    assert error < 2 * calibration_error_by_chance(predicted)
    assert all(
        b.observed.low - 0.02 < b.predicted < b.observed.high + 0.02 for b in calibration_curve(predicted, outcomes)
    )


def test_overconfidence_shows_and_its_temperature_mends_it():
    differences = calibrated(4000, scale=3.0)
    predicted, outcomes = confidences(differences)
    assert expected_calibration_error(predicted, outcomes) > 4 * calibration_error_by_chance(predicted)
    assert temperature(differences) == pytest.approx(3.0, rel=0.1)
    mended, outcomes = confidences(differences / temperature(differences))
    assert expected_calibration_error(mended, outcomes) < 2 * calibration_error_by_chance(mended)


def test_temperature_at_the_ends():
    assert temperature([1.0, 2.0]) == 0.0  # all right: the more confident the better
    assert temperature([-1.0, 1.0]) == math.inf  # no better than chance
    assert temperature([-5.0, 1.0]) == math.inf  # worse
    # One wrong of three at |d| = 1: best where sigmoid(1 / T) = 2/3, so 1 / T = ln 2.
    assert temperature([1.0, 1.0, -1.0]) == pytest.approx(1 / math.log(2))


def test_a_temperature_has_an_interval_which_more_pairs_narrow_and_pairs_of_one_prompt_do_not():
    few, many = (temperature_with_interval(calibrated(n, scale=3.0)) for n in (200, 2000))
    assert many.low < 3.0 < many.high and many.n == 2000
    assert few.high - few.low > 2 * (many.high - many.low)
    copied = temperature_with_interval(np.repeat(calibrated(200, scale=3.0), 5), [f"{i // 5:03}" for i in range(1000)])
    assert copied.n == 200 and copied.standard_error == pytest.approx(few.standard_error, rel=1e-6)
    assert temperature_with_interval([1.0, 2.0]) is temperature_with_interval([-1.0, 1.0]) is None


def test_an_interval_may_reach_no_finite_temperature():
    found = temperature_with_interval([1.0, 2.0, 3.0, 2.0, -0.5])  # a third of the resamples have no wrong pair
    assert found.low == 0.0 and 0 < found.value < math.inf


def test_a_pair_has_no_part_in_its_own_temperature():
    differences = calibrated(40, scale=3.0)
    changed = differences.copy()
    changed[7] *= 100
    before, after = cross_fitted(differences), cross_fitted(changed)
    assert after[7] == pytest.approx(100 * before[7])  # over the same temperature, which others gave
    assert sum(before != after) > 20  # and it has one in theirs
    names = [str(i // 4) for i in range(40)]  # nor has another pair of its prompt
    together = cross_fitted(changed, names) / changed / (cross_fitted(differences, names) / differences)
    assert together[4:8] == pytest.approx(1.0)
    assert cross_fitted(differences, ["one"] * 40) is None


def test_cross_fitting_mends_overconfidence_and_is_no_better_than_a_fit_to_the_pairs_themselves():
    differences = calibrated(2000, scale=3.0)
    raw, mended = (reliability(*confidences(d)) for d in (differences, cross_fitted(differences)))
    assert mended["expected_calibration_error"] < 2 * mended["error_by_chance"] < raw["expected_calibration_error"]
    assert sum(b["number"] for b in raw["bins"]) == 2000
    best = reliability(*confidences(differences / temperature(differences)))
    assert best["brier_score"]["value"] <= mended["brier_score"]["value"] < raw["brier_score"]["value"]


def test_huge_differences_do_not_overflow():
    predicted, outcomes = confidences([-900.0, 900.0])
    assert predicted.tolist() == [1.0, 1.0]
    assert brier_score(predicted, outcomes).value == 0.5
    assert math.isfinite(temperature([900.0, 900.0, -1.0]))


@pytest.mark.parametrize(("predicted", "outcomes"), [([], []), ([0.6], [1, 0]), ([0.4], [1]), ([1.2], [1])])
def test_what_is_no_prediction_is_an_error(predicted, outcomes):
    with pytest.raises(ValueError, match="predictions"):
        expected_calibration_error(predicted, outcomes)
