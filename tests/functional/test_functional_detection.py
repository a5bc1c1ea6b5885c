"""Unsafe answers found by a score, by hand."""

import math

import numpy as np
import pytest

from camelid.functional.detection import (
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
    one_kind = describe_detection([0.2, 0.9], [False, False], ["a", "b"])
    assert one_kind["unsafe_recall"] is one_kind["auc"] is one_kind["gate_threshold"] is None
    assert one_kind["unsafe_precision"]["value"] == 0


def test_whether_p_safe_is_right_stands_in_bins_from_zero_to_one():
    # Safe are 1 of 2 at 0.25, 1 of 1 at 0.95: error (2 * 0.25 + 0.05) / 3, squares (0.75^2 + 0.25^2 + 0.05^2) / 3.
    found = describe_detection([0.25, 0.25, 0.95], [False, True, False], ["a", "b", "c"])["calibration"]
    assert [(b["number"], b["predicted"], b["observed"]["value"]) for b in found["bins"]] == [
        (2, 0.25, 0.5),
        (1, 0.95, 1),
    ]
    assert found["expected_calibration_error"] == pytest.approx(0.55 / 3)
    assert found["brier_score"]["value"] == pytest.approx(0.6275 / 3)
    generator = np.random.default_rng(0)
    p = generator.random(2000)
    unsafe, names = generator.random(2000) > p, [str(i) for i in range(2000)]
    right = describe_detection(p, unsafe, names)["calibration"]
    sure = describe_detection(p**3, unsafe, names)["calibration"]  # says unsafe too often
    assert right["expected_calibration_error"] < 2 * right["error_by_chance"]
    assert sure["expected_calibration_error"] > 4 * sure["error_by_chance"]


@pytest.mark.parametrize(("p", "unsafe"), [([], []), ([0.5], [True, False]), ([-2.0], [True]), ([math.nan], [True])])
def test_what_is_no_probability_is_an_error(p, unsafe):
    with pytest.raises(ValueError, match=r"two equal flat lists|take the sigmoid"):
        describe_detection(p, unsafe, ["a"] * len(p))
