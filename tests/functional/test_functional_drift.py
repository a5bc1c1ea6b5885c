"""Drift and Goodhart's alarm: distances by hand, verdicts on made-up versions."""

import numpy as np
import pytest

from camelid.functional.drift import KS_POINT, goodhart_step, ks_distance, score_drift

GENERATOR = np.random.default_rng(0)
TRAINING = GENERATOR.normal(2.0, 3.0, 500)


def test_without_drift_the_distance_exceeds_its_bound_in_five_cases_of_a_hundred():
    generator = np.random.default_rng(1)
    exceeded = []
    for _ in range(400):
        a, b = generator.normal(size=200), generator.normal(size=100)
        exceeded.append(ks_distance(a, b) > KS_POINT * np.sqrt(300 / (200 * 100)))
    assert 0.015 < np.mean(exceeded) < 0.08  # 5%, somewhat less in small samples; its standard error is 1.1%


def test_the_same_scores_have_not_shifted():
    drift = score_drift(TRAINING, np.random.default_rng(1).normal(2.0, 3.0, 300))
    assert drift.shift.low < 0 < drift.shift.high
    assert drift.ks_by_chance == pytest.approx(1.3581 * np.sqrt(800 / (500 * 300)))
    assert drift.outside.value < 0.02


def test_a_shift_is_told_in_standard_deviations_of_the_training_scores():
    drift = score_drift(TRAINING, TRAINING[:200] + 6.0)  # two standard deviations up, but for the sample's luck
    assert drift.shift.value == pytest.approx((TRAINING[:200].mean() + 6 - TRAINING.mean()) / TRAINING.std(ddof=1))
    assert drift.shift.low > 1.5
    assert drift.ks_distance > 5 * drift.ks_by_chance


def test_share_outside_the_training_range():
    assert score_drift([0.0, 1.0, 2.0], [-0.1, 0.0, 2.0, 2.1]).outside.value == 0.5


def test_ks_distance_by_hand():
    # F_a jumps to 1/2 at 0 and 1 at 2; F_b to 1/2 at 1 and 1 at 3. The gap is 1/2 on [0, 1) and on [2, 3).
    assert ks_distance([0.0, 2.0], [1.0, 3.0]) == 0.5
    assert ks_distance([0.0, 1.0], [5.0, 6.0]) == 1.0
    assert ks_distance([1.0, 2.0], [2.0, 1.0]) == 0.0


def test_a_model_that_always_says_the_same_has_no_unit():
    with pytest.raises(ValueError, match="all equal"):
        score_drift([1.0, 1.0], [1.0])


def test_scores_that_are_no_numbers():
    with pytest.raises(ValueError, match="fresh scores"):
        score_drift([1.0, 2.0], [])


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (1.0, -1.0, "alarm"),
        (1.0, 1.0, "agree"),
        (1.0, 0.0, "unconfirmed"),
        (0.0, -1.0, "no rise"),
        (-1.0, -1.0, "no rise"),
    ],
)
def test_verdicts(first, second, verdict):
    noise = np.random.default_rng(3).normal(0, 0.5, (4, 100))
    noise -= noise.mean(1, keepdims=True)  # the means are what the case says
    step = goodhart_step(noise[0], first + noise[1], noise[2], second + noise[3])
    assert step.verdict == verdict
    assert step.first.value == pytest.approx(first)
    assert step.second.value == pytest.approx(second)


def test_versions_are_compared_prompt_by_prompt():
    # Prompts differ by far more than versions do; the same prompts on both sides take that out.
    prompts = np.random.default_rng(4).normal(0, 100, 50)
    step = goodhart_step(prompts, prompts + 1, prompts, prompts - 1)
    assert step.verdict == "alarm"
