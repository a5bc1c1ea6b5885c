"""Areas under ROC curves: counted pair by pair, weighed, averaged over groups, and their intervals."""

import itertools

import numpy as np
import pytest

from camelid.functional.auc import Group, auc, mean_auc, mean_auc_difference
from camelid.functional.statistics import proportion


def by_pairs(scores, labels):
    true = [s for s, y in zip(scores, labels, strict=True) if y]
    false = [s for s, y in zip(scores, labels, strict=True) if not y]
    wins = [(a > b) + (a == b) / 2 for a, b in itertools.product(true, false)]
    return sum(wins) / len(wins)


def rows(n, seed, shift=1.0):
    generator = np.random.default_rng(seed)
    labels = generator.random(n) < 0.4
    scores = np.round(generator.normal(size=n) + shift * labels, 1)  # rounded, so that some tie
    return Group(scores.tolist(), labels.tolist(), [str(i) for i in range(n)])


def test_by_hand():
    """True ones score 3 and 1, false ones 2 and 1: of four pairs 3>2, 3>1 and half of 1=1; 1<2 is lost. 2.5 / 4."""
    assert auc([3, 1, 2, 1], [True, True, False, False], np.ones((1, 4)))[0] == 0.625


@pytest.mark.parametrize("seed", range(3))
def test_equals_counting_all_pairs(seed):
    group = rows(60, seed)
    assert auc(group.scores, group.labels, np.ones((1, 60)))[0] == pytest.approx(by_pairs(group.scores, group.labels))


def test_a_row_that_counts_twice_is_two_rows():
    group = rows(20, 0)
    counts = np.random.default_rng(1).integers(0, 3, (1, 20))
    times = counts[0].tolist()
    repeated = [np.repeat(part, times).tolist() for part in (group.scores, group.labels)]
    assert auc(group.scores, group.labels, counts.astype(float))[0] == pytest.approx(by_pairs(*repeated))


def test_one_kind_alone_has_no_area():
    assert np.isnan(auc([1, 2], [True, True], np.ones((1, 2)))[0])
    assert mean_auc([Group([1, 2], [True, True], ["a", "b"])]) is None
    assert mean_auc([rows(20, 0), Group([1, 2], [True, True], ["a", "b"])]) is None
    assert mean_auc([]) is None


def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match="no NaN"):
        auc([float("nan"), 1], [True, False], np.ones((1, 2)))


def test_groups_weigh_alike_whatever_their_size():
    small, large = rows(30, 0, shift=2.0), rows(300, 1, shift=0.0)
    areas = [by_pairs(g.scores, g.labels) for g in (small, large)]
    found = mean_auc([small, large])
    assert found.value == pytest.approx(np.mean(areas))
    assert found.low < found.value < found.high


def test_the_interval_covers_the_truth_nineteen_times_in_twenty():
    """Two normals one standard deviation apart: the area is Phi(1 / sqrt 2) = 0.7602. Of 120 intervals about 114 hold
    it, standard deviation 2.4."""
    held = 0
    for seed in range(120):
        generator = np.random.default_rng(seed)
        labels = np.arange(100) % 2 == 0
        scores = generator.normal(size=100) + labels
        group = Group(scores.tolist(), labels.tolist(), [str(i) for i in range(100)])
        found = mean_auc([group])
        held += found.low <= 0.7602 <= found.high
    assert 105 <= held <= 120


def test_rows_of_one_prompt_are_one_unit():
    """Each row ten times over says nothing new: the interval stays."""
    group = rows(40, 2)
    tenfold = Group(group.scores * 10, group.labels * 10, group.units * 10)
    once, ten = mean_auc([group]), mean_auc([tenfold])
    assert ten.n == once.n == 40
    assert (ten.low, ten.high) == pytest.approx((once.low, once.high))


@pytest.mark.parametrize("sign", [1, -1])
def test_perfect_order_claims_no_certainty(sign):
    """Five prompts broken, eight kept: five independent pairs for certain, so Wilson's bound of 5 of 5."""
    labels = [True] * 5 + [False] * 8
    found = mean_auc([Group([sign * float(y) for y in labels], labels, [str(i) for i in range(13)])])
    bound = proportion(5, 5)
    expected = (1.0, bound.low, 1.0) if sign == 1 else (0.0, 0.0, 1 - bound.low)
    assert (found.value, found.low, found.high) == pytest.approx(expected)
    assert found.n == 13


def test_a_difference_is_paired():
    group = rows(200, 3)
    noise = np.random.default_rng(4).normal(size=200) * 0.05
    other = group._replace(scores=(np.array(group.scores) + noise).tolist())
    found = mean_auc_difference([group], [other])
    assert found.value == pytest.approx(by_pairs(group.scores, group.labels) - by_pairs(other.scores, other.labels))
    alone = mean_auc([group])
    assert found.high - found.low < (alone.high - alone.low) / 3
    with pytest.raises(ValueError, match="on the same rows"):
        mean_auc_difference([group], [rows(200, 5)])
