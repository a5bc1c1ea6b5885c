import math

import numpy as np
import pytest

from camelid.functional.bradley_terry import ELO_SCALE, bradley_terry, check_connected

VAGUE = 1e4
"""A prior that has no say."""


def test_two_models_have_the_log_odds_of_their_win_rate():
    # 3 wins of 4: s_0 - s_1 = ln 3, in Elo 400 log10(3) = 190.85.
    strengths = bradley_terry(np.array([[0.0, 3.0], [1.0, 0.0]]), prior_sd=VAGUE)
    assert strengths == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-6)
    assert ELO_SCALE * (strengths[0] - strengths[1]) == pytest.approx(190.85, abs=0.01)


def test_three_models_on_a_chain():
    # a beats b 2 to 1, b beats c 4 to 1; a and c never met: the differences are ln 2 and ln 4, and add up.
    wins = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 4.0], [0.0, 1.0, 0.0]])
    a, b, c = bradley_terry(wins, prior_sd=VAGUE)
    assert (a - b, b - c) == pytest.approx((math.log(2), math.log(4)), abs=1e-6)
    assert a + b + c == pytest.approx(0)


def test_at_the_maximum_expected_wins_equal_wins():
    generator = np.random.default_rng(0)
    wins = generator.integers(1, 20, size=(6, 6)).astype(float)
    np.fill_diagonal(wins, 0)
    strengths = bradley_terry(wins, prior_sd=VAGUE)
    p = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    np.fill_diagonal(p, 0)
    assert ((wins + wins.T) * p).sum(axis=1) == pytest.approx(wins.sum(axis=1), abs=1e-5)


def test_several_problems_at_once_are_each_as_by_itself():
    wins = np.random.default_rng(1).uniform(0.5, 9, size=(4, 3, 3))
    wins[:, range(3), range(3)] = 0
    together = bradley_terry(wins)
    assert together == pytest.approx(np.stack([bradley_terry(w) for w in wins]), abs=1e-8)


def test_who_wins_everything_gets_a_finite_strength_from_the_prior():
    wins = np.array([[0.0, 805.0], [0.0, 0.0]])
    first, second = bradley_terry(wins)
    # Where the gradient vanishes: 805 / (1 + e^(2s)) = s / 100, so at s = 4.96: 805 / 20,333 = 0.0396 against 0.0496;
    # at s = 4.85 it is 0.0493 against 0.0485.
    assert first == pytest.approx(4.86, abs=0.01)
    assert second == -first
    # One loss is enough for the data to speak: ln 804.
    once = bradley_terry(np.array([[0.0, 804.0], [1.0, 0.0]]))
    assert once[0] - once[1] == pytest.approx(math.log(804), abs=0.15)


def test_models_that_never_met_are_an_error_that_names_the_groups():
    games = np.zeros((4, 4))
    games[0, 1] = games[3, 2] = 1
    with pytest.raises(ValueError, match=r"a, b \| c, d"):
        check_connected(games, ["a", "b", "c", "d"])
    games[1, 2] = 1
    check_connected(games, ["a", "b", "c", "d"])


def test_strengths_equal_those_of_choix():
    choix = pytest.importorskip("choix", reason="choix, an independent implementation, is not installed")
    generator = np.random.default_rng(2)
    wins = generator.integers(0, 12, size=(5, 5)).astype(float)
    np.fill_diagonal(wins, 0)
    wins[0, 1] += 0.5  # a tie counts half for each; choix gets every comparison twice, the tie once in either order
    wins[1, 0] += 0.5
    data = [(i, j) for i in range(5) for j in range(5) for _ in range(round(2 * wins[i, j]))]
    # choix maximises L - alpha |s|^2; ours is L - |s|^2 / (2 sd^2), and its L is twice ours: alpha = 2 / (2 * 3^2).
    theirs = choix.opt_pairwise(5, data, alpha=1 / 9, tol=1e-10)
    assert bradley_terry(wins, prior_sd=3.0) == pytest.approx(theirs - theirs.mean(), abs=1e-4)
