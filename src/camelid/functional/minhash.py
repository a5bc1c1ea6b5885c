"""MinHash: how like each other sets are, from a few numbers a set; which pairs are worth a look, from bands of them.

Broder 1997, 'On the resemblance and containment of documents': under a random order of all shingles, two sets have the
same first shingle with probability |A n B| / |A u B|, their Jaccard similarity J. K orders give K draws.
Locality-sensitive hashing (Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, 'Mining of Massive Datasets',
section 3.4): of `bands` bands of `rows` values each, at least one is equal with probability 1 - (1 - J^rows)^bands.

An order is x -> mix(x xor s_k), mix the finaliser of SplitMix64 (Steele, Lea and Flood 2014), a bijection of 64-bit
numbers. Shingles are 64-bit hashes: two that differ are taken for one with probability 2^-64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
BLOCK = 1 << 18
"""Shingles that are hashed at once; bounds memory."""


def shingles(words: Sequence[str], size: int = 5) -> Hashes:
    """(S,) sorted distinct hashes of every `size` words on end; of all words where there are fewer, of none none."""
    if size < 1:
        raise ValueError(f"shingles of {size} words; a shingle has at least 1")
    ids = np.array([_hash_of(word) for word in words], dtype=np.uint64)
    size = min(size, len(ids))
    if not size:
        return ids
    total = np.zeros(len(ids) - size + 1, dtype=np.uint64)
    for k in range(size):
        total = _mixed(total ^ ids[k : k + len(total)])
    return np.unique(total)


def jaccard(a: Hashes, b: Hashes) -> float:
    """|A n B| / |A u B| of two sorted sets; 0 for two empty ones."""
    common = len(np.intersect1d(a, b, assume_unique=True))
    union = len(a) + len(b) - common
    return common / union if union else 0.0


def signatures(sets: Sequence[Hashes], num_hashes: int = 128, seed: int = 0) -> Hashes:
    """(N, num_hashes): the least value of each set under each order. Raises ValueError for an empty set."""
    if any(not len(each) for each in sets):
        raise ValueError("an empty set has no least value; leave out texts without words")
    start = np.uint64(seed % 2**64)
    orders = _mixed(np.arange(1, num_hashes + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start)
    found = np.empty((len(sets), num_hashes), dtype=np.uint64)
    sizes = np.array([len(each) for each in sets])
    first = 0
    while first < len(sets):
        last = first + max(int(np.searchsorted(np.cumsum(sizes[first:]), BLOCK)), 1)
        joined = np.concatenate(sets[first:last])
        starts = np.cumsum(sizes[first:last]) - sizes[first:last]
        for k, order in enumerate(orders):
            found[first:last, k] = np.minimum.reduceat(_mixed(joined ^ order), starts)
        first = last
    return found


def estimated_jaccard(a: Hashes, b: Hashes) -> float:
    """Share of equal values in two signatures (K,): unbiased, of standard error sqrt(J (1 - J) / K)."""
    return float(np.mean(a == b))


def candidate_probability(similarity: float, bands: int, rows: int) -> float:
    """That a pair of this Jaccard similarity has a band in common."""
    return 1 - (1 - similarity**rows) ** bands


def choose_bands(threshold: float, num_hashes: int, recall: float = 0.99) -> tuple[int, int]:
    """(bands, rows): the longest bands with which a pair at the threshold is found with probability `recall` at least.

    Longer bands bring fewer pairs that are then found to be unlike. Raises ValueError where no length does it.
    """
    for rows in range(num_hashes, 0, -1):
        if candidate_probability(threshold, num_hashes // rows, rows) >= recall:
            return num_hashes // rows, rows
    raise ValueError(
        f"{num_hashes} hashes find a pair of similarity {threshold:g} with less than probability {recall:g}; take more "
        "hashes, or a higher threshold"
    )


def band_keys(found: Hashes, rows: int) -> Hashes:
    """(N, bands): a number for each whole band of the signatures (N, K)."""
    bands = found.shape[1] // rows
    keys = np.zeros((len(found), bands), dtype=np.uint64)
    for k in range(rows):
        keys = _mixed(keys ^ found[:, k : bands * rows : rows])
    return keys


def _mixed(x: Hashes) -> Hashes:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) + np.uint64(0x632BE59BD9B4E019)


@lru_cache(maxsize=1 << 20)
def _hash_of(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "big")
