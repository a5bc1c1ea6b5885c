"""Multiple choice, perplexity and means of groups, by hand."""

import math

import pytest

from camelid.functional.choices import likeliest, likeliest_per_length, mass_of_right
from camelid.functional.perplexity import nats_a_unit, perplexity
from camelid.functional.strata import mean_of_groups


def test_length_decides_between_acc_and_acc_norm():
    # -6 / 2 = -3 a character against -8 / 4 = -2: the longer choice wins once lengths count.
    assert likeliest([-6.0, -8.0]) == 0
    assert likeliest_per_length([-6.0, -8.0], [2, 4]) == 1
    assert likeliest([-1.0, -1.0]) == 0  # the first of equals
    assert likeliest_per_length([-1.0, -2.0], [0, 1]) == 0  # an empty choice counts as one character


def test_mass_of_right_is_a_share_of_probability_even_where_all_underflow():
    # exp(-1) + exp(-3) right out of exp(-1) + exp(-2) + exp(-3).
    expected = (math.exp(-1) + math.exp(-3)) / (math.exp(-1) + math.exp(-2) + math.exp(-3))
    assert mass_of_right([-1.0, -2.0, -3.0], [True, False, True]) == pytest.approx(expected)
    assert mass_of_right([-901.0, -902.0, -903.0], [True, False, True]) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [[], [float("nan"), 1.0], [[1.0]]])
def test_no_choice_is_made_from_nonsense(wrong):
    with pytest.raises(ValueError, match="finite log-likelihoods"):
        likeliest(wrong)


def test_perplexity_counts_units_and_not_documents():
    # 6 nats over 1 word and 2 nats over 3: 8 / 4 = 2 nats a word, not the mean of 6 and 2/3.
    nats = nats_a_unit([6.0, 2.0], [1, 3])
    assert nats.value == 2.0
    assert nats.low < 2.0 < nats.high
    found = perplexity([6.0, 2.0], [1, 3])
    assert found.value == pytest.approx(math.exp(2))
    assert (found.low, found.high) == (pytest.approx(math.exp(nats.low)), pytest.approx(math.exp(nats.high)))
    assert found.standard_error == pytest.approx(math.exp(2) * nats.standard_error)
    assert nats_a_unit([3.0], [2]).high == math.inf
    with pytest.raises(ValueError, match="positive counts"):
        perplexity([1.0], [0])


def test_groups_count_alike_whatever_their_sizes():
    # Group a: 1, 0 -> mean 1/2, variance 1/2, / 2 = 1/4. Group b: 1, 1, 1, 0 -> mean 3/4, variance 1/4, / 4 = 1/16.
    # Mean 5/8; standard error sqrt(1/4 + 1/16) / 2.
    found = mean_of_groups([1, 0, 1, 1, 1, 0], ["a", "a", "b", "b", "b", "b"])
    assert found.value == pytest.approx(5 / 8)
    assert found.standard_error == pytest.approx(math.sqrt(5 / 16) / 2)
    assert found.n == 6
    assert mean_of_groups([1, 0, 0], ["a", "b", "b"]).standard_error > 0  # a group of one is not certain
    with pytest.raises(ValueError, match="as many"):
        mean_of_groups([1.0], [])
