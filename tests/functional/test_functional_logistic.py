"""Logistic regression and the bag-of-words classifier on it."""

import math

import numpy as np
import pytest

from camelid.functional.logistic import fit_logistic, sigmoid
from camelid.functional.text_classifier import SparseRows, fit_text_classifier


def test_intercept_alone_is_the_log_odds():
    # 3 of 4 are true and the feature says nothing: P = 3/4, b = ln 3.
    fitted = fit_logistic(np.zeros((4, 1)), np.array([True, True, True, False]))
    assert fitted.intercept == pytest.approx(math.log(3))
    assert fitted.weights == pytest.approx([0.0])


def test_one_feature_by_hand():
    # x = +1 true, x = -1 false: b = 0 by symmetry, and w solves 2 sigmoid(-w) = penalty w.
    fitted = fit_logistic(np.array([[1.0], [-1.0]]), np.array([True, False]), penalty=0.5)
    w = fitted.weights[0]
    assert 2 / (1 + math.exp(w)) == pytest.approx(0.5 * w, abs=1e-4)
    assert fitted.intercept == pytest.approx(0, abs=1e-9)


def test_gradient_vanishes_at_the_fit_on_many_features():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 50))
    y = x[:, 0] + generator.normal(size=200) > 0.5
    fitted = fit_logistic(x, y, penalty=2.0)
    residual = sigmoid(x @ fitted.weights + fitted.intercept) - y
    assert np.abs(x.T @ residual + 2.0 * fitted.weights).max() < 1e-2
    assert abs(residual.sum()) < 1e-2


def test_sparse_and_dense_rows_give_the_same_fit():
    generator = np.random.default_rng(1)
    dense = generator.normal(size=(60, 8)) * (generator.random((60, 8)) < 0.3)
    rows, columns = np.nonzero(dense)
    sparse = SparseRows(dense[rows, columns], rows, columns, (60, 8))
    y = dense[:, 0] > 0
    a, b = fit_logistic(dense, y), fit_logistic(sparse, y)
    assert a.weights == pytest.approx(b.weights, abs=1e-6)
    assert a.intercept == pytest.approx(b.intercept, abs=1e-6)


@pytest.mark.parametrize("labels", [[True, True], [False, False], [True]])
def test_one_kind_of_label_is_an_error(labels):
    with pytest.raises(ValueError, match="needs both kinds"):
        fit_logistic(np.ones((2, 1)), np.array(labels))


def test_words_that_tell_the_labels_apart_are_found():
    texts = [f"the {word} number {i}" for i in range(20) for word in ("red", "blue")]
    classifier = fit_text_classifier(texts, [i % 2 == 0 for i in range(40)])
    red, blue, unknown = classifier.probabilities(["a red one", "blue", "zzz"])
    assert red > 0.75
    assert blue < 0.25
    assert unknown == pytest.approx(0.5, abs=0.05)  # no known word: the intercept, and half of the labels are true


def test_unit_rows_and_idf_by_hand():
    # "a" stands in all 2 texts, idf 1; "b" and "a b" in one only, left out: every text is the unit vector of "a".
    classifier = fit_text_classifier(["a", "a b"], [True, False])
    assert set(classifier.columns) == {"a"}
    assert classifier.idf == pytest.approx([1.0])
    assert classifier.probabilities(["a"]) == pytest.approx([0.5], abs=1e-6)
    with pytest.raises(ValueError, match="share no word"):
        fit_text_classifier(["a", "b"], [True, False])
