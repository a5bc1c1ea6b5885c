"""Agreement beyond chance: the papers' examples, identities between the coefficients, what is not defined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from camelid.functional.agreement import (
    Coefficient,
    coefficient,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    gwet_ac2,
    observed_agreement,
    ordered_weights,
    tie_weights,
)
from camelid.functional.krippendorff import krippendorff_interval, krippendorff_nominal, krippendorff_ordinal

# Krippendorff 2011: 12 units, 4 observers, missing ratings.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
UNITS = np.array([[sum(o[u] == q for o in OBSERVERS) for q in range(1, 6)] for u in range(12)], dtype=float)
SCORES = np.arange(1.0, 6)


def once(counts) -> np.ndarray:
    return np.ones((1, len(counts)))


def value(chance) -> float:
    return float(((chance.observed - chance.expected) / (1 - chance.expected))[0])


complete = arrays(np.int64, (12, 3), elements=st.integers(0, 3))
"""12 items, 3 raters, 4 labels."""


def counts_of(labels, q: int = 4) -> np.ndarray:
    return np.stack([(labels == k).sum(1) for k in range(q)], axis=1).astype(float)


def test_krippendorffs_example():
    assert value(krippendorff_nominal(UNITS, once(UNITS))) == pytest.approx(0.743, abs=5e-4)
    assert value(krippendorff_ordinal(UNITS, once(UNITS))) == pytest.approx(0.815, abs=5e-4)
    assert value(krippendorff_interval(UNITS, SCORES, once(UNITS))) == pytest.approx(0.849, abs=5e-4)


@pytest.mark.parametrize(
    ("weights", "ac"),
    [("linear", 0.85873914), ("quadratic", 0.91400072), ("ordinal", 0.89893977)],
)
def test_gwets_coefficients_on_the_same_example_are_irrcacs(weights, ac):
    # irrCAC 0.4.4 (Gwet's own package, in Python) on OBSERVERS, to eight digits. Its AC1 and Fleiss' kappa:
    assert value(gwet_ac1(UNITS, once(UNITS))) == pytest.approx(0.77544407, abs=1e-8)
    assert value(fleiss_kappa(UNITS, once(UNITS))) == pytest.approx(0.76116928, abs=1e-8)
    assert value(gwet_ac2(UNITS, ordered_weights(SCORES, weights), once(UNITS))) == pytest.approx(ac, abs=1e-8)


def test_gwets_answer_to_the_paradox_of_kappa():
    # Two raters, 125 items: 118 both yes, 5 yes-no, 2 no-yes, 0 both no. Observed .944.
    # Cohen: .984 * .96 + .016 * .04 = .94528 by chance, (.944 - .94528) / .05472 = -.0234: no better than chance.
    # AC1: pi = .972, 2 * .972 * .028 = .054432 by chance, (.944 - .054432) / .945568 = .9408.
    first = np.array([[1.0, 0]] * 123 + [[0, 1.0]] * 2)
    second = np.array([[1.0, 0]] * 118 + [[0, 1.0]] * 5 + [[1.0, 0]] * 2)
    assert value(cohen_kappa(first, second, once(first))) == pytest.approx(-0.00128 / 0.05472)
    assert value(gwet_ac1(first + second, once(first))) == pytest.approx(0.889568 / 0.945568)


def test_fleiss_on_ten_items_and_fourteen_raters():
    # Observed .378, by chance .213, kappa .210 (the worked example of Wikipedia's article on Fleiss' kappa). The first
    # item alone: (14^2 - 14) / (14 * 13) = 1. The second: (4 + 36 + 16 + 4 - 14) / 182 = .253.
    rows = "0 0 0 0 14/0 2 6 4 2/0 0 3 5 6/0 3 9 2 0/2 2 8 1 1/7 7 0 0 0/3 2 6 3 0/2 5 3 2 2/6 5 2 1 0/0 2 2 3 7"
    counts = np.array([[float(n) for n in row.split()] for row in rows.split("/")])
    chance = fleiss_kappa(counts, once(counts))
    assert chance.observed[0] == pytest.approx(0.378, abs=5e-4)
    assert chance.expected[0] == pytest.approx(0.213, abs=5e-4)
    assert value(chance) == pytest.approx(0.210, abs=5e-4)
    eye = np.eye(5)
    assert observed_agreement(counts[:1], eye, once(counts[:1])) == 1
    assert observed_agreement(counts[1:2], eye, once(counts[:1]))[0] == pytest.approx(46 / 182)


@given(complete)
def test_alpha_is_fleiss_kappa_but_for_a_small_sample(labels):
    # With complete data both compare the same pairs; alpha draws its chance pairs without replacement:
    # 1 - alpha = (1 - kappa) (n - 1) / n with n = items times raters.
    counts = counts_of(labels)
    if (counts.sum(0) > 0).sum() < 2:
        return
    kappa, alpha = value(fleiss_kappa(counts, once(counts))), value(krippendorff_nominal(counts, once(counts)))
    assert 1 - alpha == pytest.approx((1 - kappa) * 35 / 36)


@given(complete, st.permutations(range(4)), st.permutations(range(12)))
def test_names_of_labels_and_order_of_items_do_not_matter(labels, names, order):
    counts = counts_of(labels)
    for formula in (gwet_ac1, fleiss_kappa, krippendorff_nominal):
        a, b = (formula(c, once(c)) for c in (counts, counts[np.ix_(order, names)]))
        assert a.observed[0] == pytest.approx(b.observed[0], nan_ok=True)
        assert a.expected[0] == pytest.approx(b.expected[0], nan_ok=True)


@given(complete)
def test_weights_without_partial_credit_make_ac2_ac1(labels):
    counts = counts_of(labels)
    assert value(gwet_ac2(counts, np.eye(4), once(counts))) == value(gwet_ac1(counts, once(counts)))


@given(complete)
def test_counting_an_item_twice_is_having_it_twice(labels):
    """What the bootstrap rests on."""
    counts = counts_of(labels)
    doubled = np.concatenate([counts, counts[:1]])
    draws = once(counts)
    draws[0, 0] = 2
    weights = ordered_weights(np.arange(4.0), "linear")
    for formula in (
        gwet_ac1,
        fleiss_kappa,
        krippendorff_nominal,
        krippendorff_ordinal,
        lambda c, d: gwet_ac2(c, weights, d),
        lambda c, d: krippendorff_interval(c, np.arange(4.0), d),
    ):
        assert np.allclose(formula(counts, draws), formula(doubled, once(doubled)))


def test_limas_credit_is_the_linear_weight_with_the_tie_in_the_middle():
    # Two verdicts: the same 1, one of them a tie 1/2, opposite 0.
    assert (tie_weights(3, 1) == ordered_weights(np.array([-1.0, 0, 1]), "linear")).all()
    assert tie_weights(3, 1).tolist() == [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]]
    assert tie_weights(2, None).tolist() == [[1, 0], [0, 1]]
    # Gwet's ordinal weights on three labels: 1 - C(2, 2) / C(3, 2) = 2/3 for neighbours.
    assert ordered_weights(np.arange(3.0), "ordinal")[0].tolist() == pytest.approx([1, 2 / 3, 0])
    assert ordered_weights(np.arange(3.0), "quadratic")[0].tolist() == [1, 0.75, 0]


def measured(formula, counts) -> Coefficient:
    return coefficient(counts, lambda draws: formula(counts, draws))


def test_where_all_ratings_are_one_label_kappa_is_not_defined_and_ac1_is_one():
    counts = np.array([[3.0, 0]] * 20)
    for formula in (fleiss_kappa, krippendorff_nominal, krippendorff_ordinal):
        found = measured(formula, counts)
        assert found[:3] == (None, None, None)
        assert "0/0" in found.reason
    # AC1 knows that there was another label to give. Its bound is Wilson's for 20 of 20: 20 / (20 + 1.96^2) = .839.
    ac1 = measured(gwet_ac1, counts)
    assert ac1.value == 1
    assert ac1.low == pytest.approx(20 / (20 + 1.959964**2), abs=1e-6)
    assert measured(gwet_ac1, counts[:, :1]).value is None  # there was no other label


def test_what_cannot_be_compared_is_said():
    assert measured(gwet_ac1, np.array([[1.0, 0], [0, 1.0]])) == Coefficient(
        None, None, None, 0, None, "no item has two ratings"
    )
    one = measured(gwet_ac1, np.array([[1.0, 1.0]]))
    assert one.value == -1  # observed 0, by chance 1/2
    assert one.low is None
    assert "too few" in one.reason


def test_the_interval_covers_as_often_as_it_says():
    # 100 items, 3 raters who say the truth in 80 of 100 cases and else anything; the target is the value of 200,000.
    def sample(n: int, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        truth = random.integers(0, 3, (n, 1))
        return counts_of(np.where(random.random((n, 3)) < 0.8, truth, random.integers(0, 3, (n, 3))), 3)

    large = sample(200_000, 0)
    target = value(gwet_ac1(large, once(large)))
    covered = 0
    for seed in range(1, 61):
        found = measured(gwet_ac1, sample(100, seed))
        covered += found.low <= target <= found.high
    assert covered >= 51  # of 60; at 95% 57 +- 1.7


def test_alpha_is_that_of_the_krippendorff_package():
    package = pytest.importorskip("krippendorff")
    random = np.random.default_rng(3)
    labels = np.where(
        random.random((40, 5)) < 0.3, np.nan, random.integers(0, 5, (40, 1)) + random.integers(0, 2, (40, 5))
    )
    counts = np.stack([(labels == k).sum(1) for k in range(6)], axis=1).astype(float)
    for level, formula in (
        ("nominal", krippendorff_nominal),
        ("ordinal", krippendorff_ordinal),
        ("interval", lambda c, d: krippendorff_interval(c, np.arange(6.0), d)),
    ):
        theirs = package.alpha(reliability_data=labels.T, level_of_measurement=level)
        assert value(formula(counts, once(counts))) == pytest.approx(theirs)
