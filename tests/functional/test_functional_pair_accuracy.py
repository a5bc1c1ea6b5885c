"""Shares of wins: hand-computed, and properties of the length-balanced one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camelid.functional.pair_accuracy import (
    by_length_ratio,
    gain,
    length_balanced,
    longer_wins,
    share_of_wins,
    shares_by_label,
    wins,
)
from camelid.functional.statistics import proportion


def test_wins_ties_and_losses():
    assert wins([2.0, 1.0, 0.0], [1.0, 1.0, 5.0]).tolist() == [1.0, 0.5, 0.0]
    assert longer_wins(["long", "ab", "a"], ["x", "cd", "xy"]).tolist() == [1.0, 0.5, 0.0]


def test_a_score_that_is_no_number_is_an_error():
    with pytest.raises(ValueError, match="1 of 2"):
        wins([1.0, math.nan], [0.0, 0.0])


def test_one_pair_a_prompt_is_a_proportion():
    assert share_of_wins([1.0, 0.0, 1.0, 0.5], ["a", "b", "c", "d"]) == proportion(2.5, 4)


def test_pairs_of_one_prompt_are_one_unit():
    # Ten prompts with ten equal pairs each know no more than ten pairs: half the prompts won, standard error about
    # sqrt(0.25 / 10) = 0.158, where 100 independent pairs would claim 0.05.
    won = [float(prompt % 2) for prompt in range(10) for _ in range(10)]
    estimate = share_of_wins(won, [str(prompt) for prompt in range(10) for _ in range(10)])
    assert estimate.value == 0.5
    assert estimate.n == 10
    assert estimate.standard_error == pytest.approx(0.158, rel=0.1)


def test_all_won_is_not_certain():
    assert share_of_wins([1.0] * 6, ["a", "a", "b", "b", "c", "c"]) == proportion(3, 3)


def test_gain_pairs_the_pairs():
    # Right on the baseline's pairs and on a tenth more: 0.1, and the half that both find easy adds no noise:
    # the standard error is sqrt(0.1 * 0.9 / 200) = 0.021, where two separate shares would give 0.05.
    baseline = np.array([1.0] * 100 + [0.0] * 100)
    won = np.array([1.0] * 120 + [0.0] * 80)
    estimate = gain(won, baseline)
    assert estimate.value == pytest.approx(0.1)
    assert estimate.standard_error == pytest.approx(0.021, abs=0.002)
    assert gain(baseline, won).high < 0


def test_length_balanced_by_hand():
    # Longer chosen in 3 pairs, all won: share 1. Shorter chosen in 1 pair, lost: share 0. Equal in 1, won.
    # ((3 + 1) (1 + 0) / 2 + 1) / 5 = 3 / 5, where the plain share is 4 / 5.
    estimate = length_balanced([1, 1, 1, 0, 1], [5, 2, 9, -4, 0])
    assert estimate is not None
    assert estimate.value == pytest.approx(0.6)


def test_length_gets_one_half_whatever_the_bias():
    differences = np.array([7] * 90 + [-3] * 10)
    estimate = length_balanced(wins(differences, np.zeros(100)), differences)
    assert estimate is not None
    assert estimate.value == 0.5
    assert estimate.low == estimate.high == 0.5  # in every resample too


def test_a_judge_that_is_blind_to_length_keeps_its_share():
    generator = np.random.default_rng(0)
    differences = np.where(generator.random(20_000) < 0.8, 1, -1)
    won = (generator.random(20_000) < 0.7).astype(float)
    estimate = length_balanced(won, differences)
    assert estimate is not None
    assert estimate.low < 0.7 < estimate.high


def test_length_cannot_be_balanced_where_it_is_always_longer():
    assert length_balanced([1, 0], [3, 0]) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30))
def test_balancing_does_nothing_to_balanced_pairs(pairs):
    both = pairs + [(won, -difference) for won, difference in pairs]  # longer as often as shorter, and won as often
    won = [float(w) for w, _ in both]
    estimate = length_balanced(won, [d for _, d in both])
    if estimate is not None:
        assert estimate.value == pytest.approx(np.mean(won))


def test_bins_of_length_ratio():
    # 1/4, 3/4, 1, 3/2, 4: one pair in each of the five bins.
    bins = by_length_ratio([0, 0, 1, 1, 1], [1, 3, 4, 6, 16], [4, 4, 4, 4, 4])
    assert [(b.low, b.high, b.accuracy.value) for b in bins] == [
        (0.0, 0.5, 0.0),
        (0.5, 0.8, 0.0),
        (0.8, 1.25, 1.0),
        (1.25, 2.0, 1.0),
        (2.0, math.inf, 1.0),
    ]


def test_by_label_in_order_of_appearance_without_the_unlabelled():
    found = shares_by_label({"accuracy": np.array([1.0, 0.0, 1.0, 1.0])}, ["b", "a", None, "b"])
    assert list(found) == ["b", "a"]
    assert (found["b"]["accuracy"]["value"], found["b"]["accuracy"]["n"]) == (1.0, 2)


def test_prompts_must_be_named_for_every_pair():
    with pytest.raises(ValueError, match="2 prompts named for 3 pairs"):
        share_of_wins([1, 0, 1], ["a", "b"])
