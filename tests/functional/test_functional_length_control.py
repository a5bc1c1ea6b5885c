import math

import numpy as np
import pytest

from camelid.functional.length_control import Known, length_controlled_win_rate
from camelid.functional.statistics import win_rate


def simulated(intercept: float, slope: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    differences = generator.normal(300.0, 400.0, size=n)
    p = 1 / (1 + np.exp(-intercept - slope * np.tanh(differences / differences.std(ddof=1))))
    return (generator.random(n) < p).astype(float), differences


def test_length_control_recovers_the_intercept_of_simulated_outcomes():
    outcomes, differences = simulated(intercept=-0.4, slope=2.0)
    truth = 1 / (1 + math.exp(0.4))
    estimate = length_controlled_win_rate(outcomes, differences, num_resamples=100)
    assert estimate.low < truth < estimate.high
    assert estimate.high - estimate.low < 0.05
    assert outcomes.mean() > truth + 0.1  # what length alone had bought


def test_length_control_without_a_length_effect_is_the_plain_win_rate():
    outcomes = np.random.default_rng(4).choice([0.0, 0.5, 1.0], size=500)
    differences = np.tile([-100.0, 100.0], 250)
    outcomes[1::2] = outcomes[::2]  # every outcome once shorter, once longer
    assert length_controlled_win_rate(outcomes, differences, num_resamples=10).value == pytest.approx(
        outcomes.mean(), abs=1e-4
    )
    # Equal lengths throughout: nothing to control for.
    assert length_controlled_win_rate(outcomes, np.full(500, 7.0), num_resamples=10).value == pytest.approx(
        outcomes.mean(), abs=1e-4
    )


def test_length_control_is_the_same_in_characters_and_in_tokens():
    outcomes, differences = simulated(intercept=0.3, slope=1.0, n=400)
    a = length_controlled_win_rate(outcomes, differences, num_resamples=50)
    b = length_controlled_win_rate(outcomes, differences / 4.2, num_resamples=50)
    assert a == pytest.approx(b)


def test_length_control_survives_outcomes_that_length_explains_wholly():
    differences = np.arange(-20.0, 21.0)
    outcomes = np.where(differences > 0, 1.0, np.where(differences < 0, 0.0, 0.5))
    estimate = length_controlled_win_rate(outcomes, differences)
    assert estimate.value == pytest.approx(0.5, abs=1e-6)  # by symmetry
    assert 0 <= estimate.low < 0.5 < estimate.high <= 1
    with pytest.raises(ValueError, match="one difference an outcome"):
        length_controlled_win_rate([1.0, 0.0], [3.0])


@pytest.mark.parametrize("outcome", [0.0, 0.5, 1.0])
def test_equal_outcomes_still_have_an_interval(outcome):
    estimate = length_controlled_win_rate([outcome] * 20, range(20))
    assert estimate == win_rate([outcome] * 20)


def test_a_prior_decides_where_lengths_say_nothing_and_yields_where_they_say_much():
    # All differences equal d, so tanh(0) = 0 for every unit: the plain win rate, whatever the prior.
    known = Known(length_weight=(5.0, 0.01))
    same = length_controlled_win_rate([1.0, 0.0, 1.0, 1.0] * 50, [300.0] * 200, known, num_resamples=10)
    assert same.value == pytest.approx(0.75, abs=1e-4)
    outcomes, differences = simulated(intercept=-0.4, slope=2.0)
    truth = 1 / (1 + math.exp(0.4))
    for prior in ((0.0, 0.5), (4.0, 0.5)):
        estimate = length_controlled_win_rate(outcomes, differences, Known(length_weight=prior), num_resamples=10)
        assert estimate.value == pytest.approx(truth, abs=0.02)
    # A prior that leaves no doubt: the weight is 4, and with 400 units the win rate falls below the truth.
    sure = length_controlled_win_rate(outcomes, differences, Known(length_weight=(4.0, 1e-3)), num_resamples=10)
    assert sure.value < truth - 0.05


def with_difficulty(n: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Outcomes, lengths and difficulties that go together, and the true win rate at equal length."""
    generator = np.random.default_rng(5)
    difficulty = generator.normal(0.0, 1.5, size=n)
    differences = generator.normal(-300.0, 400.0, size=n) + 150 * difficulty  # easy ones get longer answers
    length = np.tanh(differences / differences.std(ddof=1))
    log_odds = -2.0 + 1.5 * length + difficulty
    outcomes = (generator.random(n) < 1 / (1 + np.exp(-log_odds))).astype(float)
    return outcomes, differences, difficulty, float(np.mean(1 / (1 + np.exp(2.0 - difficulty))))


def test_difficulties_take_away_what_only_looks_like_an_effect_of_length():
    outcomes, differences, difficulty, truth = with_difficulty()
    plain = length_controlled_win_rate(outcomes, differences, num_resamples=10).value
    knowing = length_controlled_win_rate(outcomes, differences, Known(difficulty=difficulty), num_resamples=100)
    assert abs(plain - truth) > 0.02
    assert knowing.low < truth < knowing.high
    assert knowing.value == pytest.approx(truth, abs=0.01)
    # The weight of difficulty is found: half of each difficulty is as good as the whole.
    half = Known(difficulty=difficulty / 2, difficulty_weight=(1.0, 32.0))
    assert length_controlled_win_rate(outcomes, differences, half, num_resamples=10).value == pytest.approx(
        knowing.value, abs=1e-3
    )
    with pytest.raises(ValueError, match="difficulties; give one an outcome"):
        length_controlled_win_rate([1.0, 0.0], [1.0, 2.0], Known(difficulty=[1.0]))


def test_an_unknown_spread_of_difficulty_is_averaged_over():
    generator = np.random.default_rng(6)
    n = 40_000
    differences = generator.normal(-300.0, 400.0, size=n)
    length = np.tanh(differences / differences.std(ddof=1))
    difficulty = generator.normal(0.0, 1.5, size=n)  # has nothing to do with length
    outcomes = (generator.random(n) < 1 / (1 + np.exp(3.0 - 2.0 * length - difficulty))).astype(float)
    truth = float(np.mean(1 / (1 + np.exp(3.0 - difficulty))))
    known = Known(length_weight=(2.0, 0.01), spread=1.5)
    assert length_controlled_win_rate(outcomes, differences, known, num_resamples=10).value == pytest.approx(
        truth, rel=0.04
    )
    # Without the spread, the true weight promises too much to longer answers, and the intercept makes up for it.
    ignorant = Known(length_weight=(2.0, 0.01))
    assert length_controlled_win_rate(outcomes, differences, ignorant, num_resamples=10).value < 0.95 * truth


def test_spread_zero_is_the_limit_of_a_small_spread():
    outcomes, differences = simulated(intercept=0.3, slope=1.0, n=400)
    none = length_controlled_win_rate(outcomes, differences, num_resamples=50)
    small = length_controlled_win_rate(outcomes, differences, Known(spread=1e-4), num_resamples=50)
    assert small == pytest.approx(none, abs=1e-6)
