"""What many token rows have in common, so that it goes through the model once. Plain Python and numpy, no torch.

Sorted rows share most with their neighbours. Rows that follow each other fill a *pack*: of each only what the row
before it has not is added, and its tokens see the path from the root to themselves. A long beginning that more rows
share than a pack holds (worked examples in front of every question) becomes a `Kept`: its keys and values are computed
once and stay for the steps inside.

It serves training as well: a prompt with K completions is K rows with a common beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = Sequence[int] | NDArray[np.integer]

KEEP_FROM = 64
"""Shortest common beginning, in tokens, that is worth steps of its own."""
PIECE = 512
"""Longest run of new tokens that attends at once; bounds the memory for attention scores."""


class Asked(NamedTuple):
    """A row of tokens of which those from `start` on are predicted."""

    ids: list[int]
    start: int


class Piece(NamedTuple):
    """New tokens of one row inside a pack."""

    first: int
    """Place of the first of them in the pack."""
    width: int
    path: list[int]
    """Places of all tokens from the end of what is kept to the last of these."""


class Pack(NamedTuple):
    """Tokens that go through the model together."""

    ids: list[int]
    positions: list[int]
    pieces: list[Piece]
    rows: list[tuple[int, list[int]]]
    """Number of each row, and the places of the tokens whose states predict its asked ones."""


class Kept(NamedTuple):
    """Tokens whose keys and values stay while the steps inside are taken."""

    ids: list[int]
    position: int
    """Of the first of them."""
    steps: list[Pack | Kept]


def plan(rows: Sequence[Asked], pack_tokens: int) -> list[Pack | Kept]:
    """Steps that compute every row once, each pack of at most `pack_tokens` (a longer row gets one of its own).

    Raises ValueError for a row whose first token is asked (nothing stands before it) or that asks for none.
    """
    for number, row in enumerate(rows):
        if not 1 <= row.start < len(row.ids):
            raise ValueError(f"row {number} asks for tokens {row.start} to {len(row.ids)}: there must be one before")
    # The last token of a row predicts nothing that is asked.
    inputs = [np.asarray(row.ids[:-1], dtype=np.int64) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: rows[i].ids[:-1])
    shared = [0] + [common_length(inputs[a], inputs[b]) for a, b in pairwise(order)]
    return list(_Planner(rows, inputs, order, shared, pack_tokens).steps(0, len(order), 0))


class Shared(NamedTuple):
    """Rows laid end to end, but for what they share with one another, which lies there once."""

    ids: list[int]
    positions: list[int]
    pieces: list[Piece]
    places: list[list[int]]
    """Of each row, where its tokens lie."""


def share(rows: Sequence[Ids], at_least: int) -> Shared:
    """Rows in one stretch, of whatever length, in which beginnings of `at_least` tokens or more are there once."""
    shared = Shared([], [], [], [[] for _ in rows])
    last, path = np.zeros(0, dtype=np.int64), list[int]()
    arrays = [np.asarray(row, dtype=np.int64) for row in rows]
    for number in sorted(range(len(rows)), key=lambda i: arrays[i].tolist()):
        ids = arrays[number]
        known = common_length(last, ids)
        known = known if known >= at_least else 0
        path = path[:known] + list(range(len(shared.ids), len(shared.ids) + len(ids) - known))
        if known < len(ids):
            shared.pieces.append(Piece(path[known], len(ids) - known, path))
        shared.ids.extend(ids[known:].tolist())
        shared.positions.extend(range(known, len(ids)))
        shared.places[number] = path
        last = ids
    return shared


class _Planner(NamedTuple):
    rows: Sequence[Asked]
    inputs: list[np.ndarray]
    order: list[int]
    shared: list[int]
    """How many tokens each row has in common with the one before it, in order."""
    pack_tokens: int

    def steps(self, low: int, high: int, depth: int) -> Iterator[Pack | Kept]:
        """Steps for the rows low to high, of which the first `depth` tokens are kept already."""
        plain: list[int] = []
        while low < high:
            end = low + 1
            while end < high and self.shared[end] >= depth + KEEP_FROM:
                end += 1
            common = self.common(low, end)
            new = len(self.inputs[self.order[low]]) - common
            new += sum(len(self.inputs[self.order[i]]) - self.shared[i] for i in range(low + 1, end))
            if common >= depth + KEEP_FROM and new > self.pack_tokens:
                ids = self.inputs[self.order[low]][depth:common].tolist()
                yield Kept(ids, depth, list(self.steps(low, end, common)))
            else:
                plain += range(low, end)
            low = end
        yield from self.packs(plain, depth)

    def common(self, low: int, high: int) -> int:
        """Length of the beginning that these rows share, up to the first state that any of them asks for."""
        states = min(self.rows[self.order[i]].start - 1 for i in range(low, high))
        return min([states, *self.shared[low + 1 : high]])

    def packs(self, places: list[int], depth: int) -> Iterator[Pack]:
        pack, last = Pack([], [], [], []), np.zeros(0, dtype=np.int64)
        path: list[int] = []
        for place in places:
            number = self.order[place]
            ids = self.inputs[number]
            known = max(common_length(last, ids), depth) if pack.ids else depth
            if pack.ids and len(pack.ids) + len(ids) - known > self.pack_tokens:
                yield pack
                pack, known = Pack([], [], [], []), depth
            path = path[: known - depth] + list(range(len(pack.ids), len(pack.ids) + len(ids) - known))
            for start in range(known, len(ids), PIECE):
                end = min(start + PIECE, len(ids))
                pack.pieces.append(Piece(path[start - depth], end - start, path[: end - depth]))
            pack.ids.extend(ids[known:].tolist())
            pack.positions.extend(range(known, len(ids)))
            pack.rows.append((number, path[self.rows[number].start - 1 - depth :]))
            last = ids
        if pack.ids:
            yield pack


def common_length(a: Ids, b: Ids) -> int:
    """Length of the common beginning."""
    length = min(len(a), len(b))
    different = np.flatnonzero(np.not_equal(a[:length], b[:length]))
    return int(different[0]) if len(different) else length
