"""Byte-pair merges of many words in step, by arrays (Sennrich et al. 2016, arXiv:1508.07909, algorithm 1).

Each step merges, in every word that has one, the pair of the lowest rank, the leftmost of equal ones; a word without a
pair of the table is done. Steps are as many as the longest word's merges, so long words are better merged elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
NO_PAIR = np.iinfo(np.int64).max
_SPREAD = 0x9E3779B97F4A7C15  # the golden ratio's digits scatter neighbouring keys (Knuth, volume 3, section 6.4)


class PairTable:
    """Which pairs of ids merge, in which order, into what: a hash table asked for thousands of pairs at once."""

    def __init__(self, pairs: Ints, merged: Ints):
        """`pairs`: (R, 2) different pairs of ids below 2^31, first to merge first. `merged`: (R,) what they become."""
        keys = _keys(pairs[:, 0], pairs[:, 1])
        bits = max(4, int(8 * len(keys)).bit_length())  # at most an eighth is filled: few searches take a second step
        self._shift, self._last = np.uint64(64 - bits), (1 << bits) - 1
        self._slots = np.full(1 << bits, -1, dtype=np.int64)
        self._keys = np.full(1 << bits, -1, dtype=np.int64)
        self.merged = merged
        for rank, (slot, key) in enumerate(zip(self._home(keys).tolist(), keys.tolist(), strict=True)):
            while self._keys[slot] >= 0:
                slot = slot + 1 & self._last
            self._slots[slot], self._keys[slot] = rank, key

    def ranks(self, left: Ints, right: Ints) -> Ints:
        """(N,) the rank of each pair, NO_PAIR where the two do not merge."""
        keys = _keys(left, right)
        slots = self._home(keys)
        found = self._keys[slots]
        ranks = np.where(found == keys, self._slots[slots], NO_PAIR)
        open_ = np.flatnonzero((found != keys) & (found >= 0))
        while len(open_):  # another pair sits there: look one further
            slots[open_] = slots[open_] + 1 & self._last
            found = self._keys[slots[open_]]
            same = found == keys[open_]
            ranks[open_[same]] = self._slots[slots[open_[same]]]
            open_ = open_[~same & (found >= 0)]
        return ranks

    def _home(self, keys: Ints) -> Ints:
        return ((keys.astype(np.uint64) * np.uint64(_SPREAD)) >> self._shift).astype(np.int64)


def merge_words(ids: Ints, lengths: Ints, table: PairTable) -> tuple[Ints, Ints]:
    """The ids of every word after all merges, and their numbers.

    `ids`: (N,) the words' first ids, one a byte, end to end. `lengths`: (W,) how many each word has, at least 1.
    """
    words = np.repeat(np.arange(len(lengths)), lengths)
    done_ids, done_words = [], []
    while len(ids):
        ranks = np.full(len(ids), NO_PAIR)
        ranks[:-1] = table.ranks(ids[:-1], ids[1:])
        ranks[:-1][words[1:] != words[:-1]] = NO_PAIR
        starts = np.flatnonzero(np.diff(words, prepend=-1))
        best = np.minimum.reduceat(ranks, starts)
        sizes = np.diff(starts, append=len(ids))
        merging = np.repeat(best, sizes)
        at = np.flatnonzero((ranks == merging) & (merging != NO_PAIR))
        at = at[np.diff(words[at], prepend=-1) != 0]  # the leftmost of each word
        ids[at] = table.merged[ranks[at]]
        keep = np.ones(len(ids), dtype=bool)
        keep[at + 1] = False
        done = merging == NO_PAIR
        done_ids.append(ids[done])
        done_words.append(words[done])
        keep &= ~done
        ids, words = ids[keep], words[keep]
    all_words = np.concatenate([*done_words, np.zeros(0, dtype=np.int64)])
    order = np.argsort(all_words, kind="stable")
    all_ids = np.concatenate([*done_ids, np.zeros(0, dtype=np.int64)])
    return all_ids[order], np.bincount(all_words, minlength=len(lengths))


def _keys(left: Ints, right: Ints) -> Ints:
    return left << 31 | right
