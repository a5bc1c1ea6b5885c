"""MinHash: estimates beside true similarities, the curve of bands, shingles by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from camelid.functional.minhash import (
    band_keys,
    candidate_probability,
    choose_bands,
    estimated_jaccard,
    jaccard,
    shingles,
    signatures,
)


def random_pair(generator, common: int, each: int):
    """Two sets with `common` of their members in common and `each` of their own: J = common / (common + 2 each)."""
    members = np.unique(generator.integers(0, 2**63, common + 2 * each, dtype=np.uint64))
    assert len(members) == common + 2 * each
    generator.shuffle(members)
    return np.sort(members[: common + each]), np.sort(np.concatenate([members[:common], members[common + each :]]))


def test_shingles_are_the_distinct_runs_of_words():
    words = ["the", "cat", "sat", "on", "the", "mat"]
    assert len(shingles(words, 5)) == 2 and len(shingles(words, 1)) == 5  # `the` twice
    assert np.array_equal(shingles(words[:5], 5), shingles(words[:5], 9))  # fewer words than a shingle: all of them
    assert len(shingles([], 5)) == 0
    assert len(shingles(["a", "b"], 2)) == 1 and not np.array_equal(shingles(["a", "b"], 2), shingles(["b", "a"], 2))
    with pytest.raises(ValueError, match="0 words"):
        shingles(words, 0)


def test_jaccard_by_hand():
    # {1, 2, 3} and {2, 3, 4, 5}: 2 in common of 5.
    a, b = np.array([1, 2, 3], dtype=np.uint64), np.array([2, 3, 4, 5], dtype=np.uint64)
    assert jaccard(a, b) == jaccard(b, a) == 0.4
    assert jaccard(a, a) == 1.0
    assert jaccard(a[:0], b) == jaccard(a[:0], b[:0]) == 0.0


@pytest.mark.parametrize(("common", "each", "true"), [(10, 45, 0.1), (50, 25, 0.5), (90, 5, 0.9)])
def test_the_estimate_is_unbiased_with_the_binomial_s_error(common, each, true):
    generator = np.random.default_rng(0)
    pairs = [random_pair(generator, common, each) for _ in range(200)]
    assert jaccard(*pairs[0]) == true
    signed = signatures([one for pair in pairs for one in pair], 64, seed=1)
    estimates = [estimated_jaccard(a, b) for a, b in zip(signed[::2], signed[1::2], strict=True)]
    error = math.sqrt(true * (1 - true) / 64)
    assert abs(np.mean(estimates) - true) < 4 * error / math.sqrt(200)
    assert 0.8 < np.std(estimates) / error < 1.2


def test_bands_propose_pairs_as_the_curve_says():
    # J = 0.5 with bands of 3 values, 5 of them: 1 - (1 - 1/8)^5 = 1 - 0.513 = 0.487.
    assert candidate_probability(0.5, 5, 3) == pytest.approx(1 - 0.875**5)
    generator = np.random.default_rng(2)
    for common, each in ((20, 40), (50, 25), (80, 10)):  # J = 0.2, 0.5, 0.8
        pairs = [random_pair(generator, common, each) for _ in range(600)]
        keys = band_keys(signatures([one for pair in pairs for one in pair], 16, seed=3), 3)
        assert keys.shape == (1200, 5)  # the sixteenth value fills no band
        proposed = np.mean([(a == b).any() for a, b in zip(keys[::2], keys[1::2], strict=True)])
        expected = candidate_probability(common / (common + 2 * each), 5, 3)
        assert abs(proposed - expected) < 4 * math.sqrt(expected * (1 - expected) / 600)


def test_the_longest_bands_that_find_enough():
    # 128 values at 0.7: bands of 4 find 1 - (1 - .7^4)^32 = .9998, bands of 5 only 1 - (1 - .7^5)^25 = .9899.
    assert choose_bands(0.7, 128) == (32, 4) and choose_bands(0.7, 128, recall=0.98) == (25, 5)
    with pytest.raises(ValueError, match="take more hashes"):
        choose_bands(0.1, 4)


def test_signatures_depend_on_the_seed_alone_and_not_on_how_sets_are_joined(monkeypatch):
    generator = np.random.default_rng(4)
    sets = [np.unique(generator.integers(0, 2**63, n, dtype=np.uint64)) for n in (1, 300, 7, 50, 1000)]
    whole = signatures(sets, 8, seed=5)
    assert not np.array_equal(whole, signatures(sets, 8, seed=6))
    monkeypatch.setattr("camelid.functional.minhash.BLOCK", 60)
    assert np.array_equal(whole, signatures(sets, 8, seed=5))
    with pytest.raises(ValueError, match="empty set"):
        signatures([sets[0][:0]])
