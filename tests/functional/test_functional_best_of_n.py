import itertools
import math

import numpy as np
import pytest

from camelid.functional.best_of_n import (
    best_of_n_by_prompt,
    best_of_n_curve,
    best_of_n_kl_bound,
    expected_best_of_n,
    expected_second_score,
    in_blocks,
)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_estimator_is_the_mean_over_all_subsets(n):
    scores = [0.3, -1.0, 2.5, 2.5, 0.0, 1.1, -0.4]
    subsets = [max(subset) for subset in itertools.combinations(scores, n)]
    assert expected_best_of_n(scores, n) == pytest.approx(sum(subsets) / len(subsets), rel=1e-12)


def test_estimator_equals_monte_carlo():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=64)
    draws = np.array([scores[generator.permutation(64)[:8]].max() for _ in range(20_000)])
    assert expected_best_of_n(scores, 8) == pytest.approx(draws.mean(), abs=4 * draws.std() / math.sqrt(len(draws)))


def test_estimator_is_unbiased_for_fresh_samples():
    # The maximum of 4 uniform numbers has mean 4/5; averaged over prompts, so does the estimate from 16.
    ((n, mean, error),) = best_of_n_curve(np.random.default_rng(1).random((4000, 16)), [4])
    assert n == 4
    assert mean == pytest.approx(0.8, abs=4 * error)
    assert error < 0.002


def test_512_samples_neither_overflow_nor_lose_weight():
    scores = np.arange(512.0)
    for n in (1, 2, 16, 255, 256, 511, 512):
        # The maximum of n of {0..K-1} without replacement has mean n (K + 1) / (n + 1) - 1.
        assert expected_best_of_n(scores, n) == pytest.approx(n * 513 / (n + 1) - 1, rel=1e-10)


def test_curve_is_the_mean_over_prompts_with_its_error():
    curve = best_of_n_curve([[0.0, 1.0], [4.0, 2.0]], [1, 2])
    # n = 1: means 0.5 and 3, so 1.75 +- 1.25; n = 2: maxima 1 and 4, so 2.5 +- 1.5 (std with n - 1, over sqrt 2)
    assert curve == [(1, pytest.approx(1.75), pytest.approx(1.25)), (2, pytest.approx(2.5), pytest.approx(1.5))]
    assert math.isnan(best_of_n_curve([[0.0, 1.0]], [1])[0][2])


@pytest.mark.parametrize("n", [0, 4])
def test_n_beyond_the_samples_is_an_error(n):
    with pytest.raises(ValueError, match=rf"best of {n} cannot be estimated from 3"):
        expected_best_of_n([1.0, 2.0, 3.0], n)


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_kl_bound_holds_and_is_met_in_the_limit(n):
    def divergence(num_completions: int) -> float:
        """KL(best of n || policy) for equally likely completions without ties: P(rank <= i) = (i / m)^n."""
        cumulative = (np.arange(num_completions + 1) / num_completions) ** n
        best = np.diff(cumulative)
        best = best[best > 0]
        return float((best * np.log(best * num_completions)).sum())

    assert divergence(3) <= best_of_n_kl_bound(n) + 1e-12
    assert divergence(100_000) == pytest.approx(best_of_n_kl_bound(n), abs=1e-2)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_second_score_is_the_mean_over_all_subsets(n):
    scores = [0.3, -1.0, 2.5, 0.0, 1.1]
    second = [4.0, 7.0, -2.0, 1.0, 0.5]
    picked = [second[max(subset, key=lambda i: scores[i])] for subset in itertools.combinations(range(5), n)]
    assert expected_second_score(scores, second, n) == pytest.approx(sum(picked) / len(picked))


def test_second_score_of_the_first_score_is_the_best_of_n():
    scores = [0.3, 2.5, 2.5, -1.0]
    assert expected_second_score(scores, scores, 3) == pytest.approx(expected_best_of_n(scores, 3))


def test_ties_are_broken_at_random():
    # Best of 2 of {1, 1, 0}: the pair of both tied picks either, (10 + 20) / 2; the other two pairs pick 10 and 20.
    assert expected_second_score([1.0, 1.0, 0.0], [10.0, 20.0, 99.0], 2) == pytest.approx((15 + 10 + 20) / 3)


def test_second_scores_must_be_of_the_same_samples():
    with pytest.raises(ValueError, match="one of each a sample"):
        expected_second_score([1.0, 2.0], [1.0], 1)


def test_blocks_follow_the_order_of_drawing_and_leave_a_rest_out():
    scores = [[3.0, 1.0, 2.0, 5.0, 9.0], [0.0, 0.0, 7.0, 1.0, 9.0]]
    assert in_blocks(scores, 2).tolist() == [[[3.0, 1.0], [2.0, 5.0]], [[0.0, 0.0], [7.0, 1.0]]]
    with pytest.raises(ValueError, match=r"blocks of 6 cannot be made of 5 samples; n must lie in 1\.\.5"):
        in_blocks(scores, 6)


def test_the_best_of_blocks_and_the_estimate_have_one_mean():
    # Blocks of 3, 1 | 2, 5: maxima 3 and 5. Of all six pairs: 3, 3, 5, 2, 5, 5, mean 23 / 6.
    scores = np.array([[3.0, 1.0, 2.0, 5.0]])
    assert in_blocks(scores, 2).max(2).mean(1) == pytest.approx([4.0])
    assert best_of_n_by_prompt(scores, 2) == pytest.approx([23 / 6])
    drawn = np.random.default_rng(2).normal(size=(4000, 16))
    gaps = in_blocks(drawn, 4).max(2).mean(1) - best_of_n_by_prompt(drawn, 4)
    assert gaps.mean() == pytest.approx(0.0, abs=4 * gaps.std() / math.sqrt(4000))
