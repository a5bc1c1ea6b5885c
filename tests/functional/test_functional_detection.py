"""Unsafe answers found by a score, by hand."""

import math

import numpy as np
import pytest

from camelid.functional.detection import (
    area_under_curve,
    describe_detection,
    flagged,
    threshold_of_precision,
)

P = [0.1, 0.2, 0.3, 0.6, 0.7, 0.9]
UNSAFE = [True, False, True, True, False, False]


def test_precision_and_recall_by_hand():
    # Below one half: 0.1, 0.2, 0.3, of which two are unsafe; of three unsafe ones two are found.
    half = flagged(P, UNSAFE, 0.5)
    assert (half.num_flagged, half.precision.value, half.recall.value) == (3, 2 / 3, 2 / 3)
    assert (half.precision.n, half.recall.n) == (3, 3)
    assert flagged(P, UNSAFE, 0.3).num_flagged == 2  # the gate takes what is below, not what is at it
    nothing = flagged(P, UNSAFE, 0.05)
    assert nothing.precision is None and nothing.recall.value == 0


def test_the_area_is_the_share_of_pairs_in_order():
    # Unsafe 0.1, 0.3, 0.6 against safe 0.2, 0.7, 0.9: below in 3 + 2 + 2 of 9 pairs.
    assert area_under_curve(P, UNSAFE).value == pytest.approx(7 / 9)
    assert area_under_curve([0.5, 0.5, 0.2], [True, False, True]).value == pytest.approx(0.75)  # (1/2 + 1) / 2
    assert area_under_curve([0.2, 0.9], [True, True]) is None


def test_the_area_is_that_of_its_definition_and_its_interval_is_over_prompts():
    generator = np.random.default_rng(0)
    p, unsafe = np.round(generator.random(60), 1), generator.random(60) < 0.4
    pairs = [(b < g) + 0.5 * (b == g) for b in p[unsafe] for g in p[~unsafe]]
    found = area_under_curve(p, unsafe)
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.low < 0.5 < found.high  # labels know nothing of the score
    twice = area_under_curve(np.repeat(p, 4), np.repeat(unsafe, 4), [str(i // 4) for i in range(240)])
    assert twice.n == 60 and twice.standard_error == pytest.approx(found.standard_error, rel=0.1)


def test_the_threshold_with_the_precision_that_was_asked_for_and_of_several_the_one_that_finds_most():
    # Precision from 0.01 up: none, then 1 above 0.1, 1/2 above 0.2, 2/3 above 0.3, 3/4 above 0.6, 3/5, 1/2.
    assert threshold_of_precision(P, UNSAFE, 0.89) == 0.2  # 1 is nearer than 3/4; 0.2 is not below 0.2
    assert threshold_of_precision(P, UNSAFE, 0.75) == 0.7
    assert threshold_of_precision([0.1, 0.2], [False, False]) is None
    assert threshold_of_precision([0.999, 0.9995], [True, False]) is None  # no threshold flags anything


def test_the_description_is_of_what_was_given():
    found = describe_detection(P, UNSAFE, ["a", "a", "b", "b", "c", "d"])
    assert (found["num_unsafe"], found["num_safe"], found["gate_threshold"]) == (3, 3, 0.2)
    assert found["unsafe_recall"]["value"] == found["unsafe_precision"]["value"] == pytest.approx(2 / 3)
    assert found["auc"]["value"] == pytest.approx(7 / 9)
    assert {0.15, 0.2, 0.5} < {row["threshold"] for row in found["thresholds"]}
    one_kind = describe_detection([0.2, 0.9], [False, False])
    assert one_kind["unsafe_recall"] is one_kind["auc"] is one_kind["gate_threshold"] is None
    assert one_kind["unsafe_precision"]["value"] == 0


@pytest.mark.parametrize(("p", "unsafe"), [([], []), ([0.5], [True, False]), ([-2.0], [True]), ([math.nan], [True])])
def test_what_is_no_probability_is_an_error(p, unsafe):
    with pytest.raises(ValueError, match=r"two equal flat lists|take the sigmoid"):
        describe_detection(p, unsafe)
