"""pass@k against brute force."""

from itertools import combinations

import pytest

from camelid.functional.pass_at_k import pass_at_k


def test_it_is_the_share_of_draws_with_a_right_one():
    """Every way to draw k of n programs, the first c of which are right."""
    for n in range(1, 7):
        for c in range(n + 1):
            for k in range(1, n + 1):
                draws = list(combinations(range(n), k))
                hits = sum(min(draw) < c for draw in draws)
                assert pass_at_k(n, c, k) == pytest.approx(hits / len(draws), abs=1e-12)


def test_by_hand():
    assert pass_at_k(1, 1, 1) == 1
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)  # k = 1: the share
    # 1 - C(3, 2) / C(5, 2) = 1 - 3 / 10; drawing with putting back would give 1 - 0.6^2 = 0.64
    assert pass_at_k(5, 2, 2) == pytest.approx(0.7)
    assert pass_at_k(200, 1, 100) == pytest.approx(0.5)


@pytest.mark.parametrize(("n", "c", "k"), [(5, 6, 1), (5, -1, 1), (5, 2, 6), (5, 2, 0), (0, 0, 1)])
def test_impossible_counts_are_errors(n, c, k):
    with pytest.raises(ValueError, match="need 0 <= c <= n"):
        pass_at_k(n, c, k)
