"""Merges by hand and against the plain algorithm."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from camelid.functional.byte_pairs import NO_PAIR, PairTable, merge_words


def merged(words: list[list[int]], merges: dict[tuple[int, int], int]) -> list[list[int]]:
    table = PairTable(np.array(list(merges), dtype=np.int64).reshape(-1, 2), np.array(list(merges.values()), np.int64))
    ids, counts = merge_words(
        np.array([id for word in words for id in word]), np.array([len(word) for word in words]), table
    )
    return [part.tolist() for part in np.split(ids, np.cumsum(counts)[:-1])]


def one_by_one(word: list[int], merges: dict[tuple[int, int], int]) -> list[int]:
    """Sennrich's algorithm: the first pair in the table's order, the leftmost of these, until there is none."""
    order = list(merges)
    while pairs := [(order.index(pair), i) for i, pair in enumerate(pairwise(word)) if pair in merges]:
        i = min(pairs)[1]
        word = [*word[:i], merges[word[i], word[i + 1]], *word[i + 2 :]]
    return word


def test_the_first_pair_merges_first_and_the_leftmost_of_equal_ones():
    merges = {(1, 2): 5, (0, 1): 6, (2, 5): 7}
    # 0 1 2: (1, 2) comes before (0, 1) in the table. 1 2 1 2 -> 5 1 2 -> 5 5. 2 1 2 -> 2 5 -> 7. 3: nothing to merge.
    assert merged([[0, 1, 2], [1, 2, 1, 2], [2, 1, 2], [3]], merges) == [[0, 5], [5, 5], [7], [3]]
    # 4 4 4: the left pair. Words do not merge with one another: 0 | 1.
    assert merged([[4, 4, 4], [0], [1]], {(4, 4): 8, (0, 1): 6}) == [[8, 4], [0], [1]]


@given(data=st.data())
def test_many_words_merge_as_one_by_one(data):
    symbols = st.integers(0, 12)
    pairs = data.draw(st.lists(st.tuples(symbols, symbols), unique=True, max_size=30))
    merges = {pair: data.draw(symbols) for pair in pairs}  # a merge may make a symbol that merges earlier
    words = data.draw(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=9), min_size=1, max_size=12))
    assert merged(words, merges) == [one_by_one(word, merges) for word in words]


def test_a_table_knows_its_pairs_and_no_others():
    generator = np.random.default_rng(0)
    pairs = np.unique(generator.integers(0, 400, (5000, 2)), axis=0)
    table = PairTable(pairs[::2], np.arange(len(pairs[::2])))
    assert (table.ranks(pairs[::2, 0], pairs[::2, 1]) == np.arange(len(pairs[::2]))).all()
    assert (table.ranks(pairs[1::2, 0], pairs[1::2, 1]) == NO_PAIR).all()
