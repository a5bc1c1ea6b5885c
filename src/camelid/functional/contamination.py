"""How much of an evaluation item stands in a training text, by LLaMA-2's measure and by GPT-3's.

LLaMA-2 (Touvron et al. 2023, arXiv:2307.09288, appendix A.6): a token is contaminated if it lies in a run of more than
10 tokens that the training data have too; from the 11th token on, up to four tokens of a run may differ, the last may
not. An item is *dirty* where at least 80% of its tokens are contaminated, *clean* where less than 20% are.
GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C): an item is contaminated if it shares one run of 13 words.

The paper leaves open whether a token that differs inside a run counts; here it does not, since the training data lack
it. Left out: paraphrases and translations, and items of up to 10 tokens, which no run of this length can reach: the
caller counts those. Method: equal runs of 10 are found by hashing, compared token by token, and extended; several
million tokens take seconds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SEED_TOKENS = 10
"""Tokens at the start of a run that must all be equal; a run that counts is longer."""
SKIPS = 4
EXACT_TOKENS = 13
DIRTY, CLEAN = 0.8, 0.2
BLOCK = 2_000_000
"""Places of one seed in item and training text that are looked at together; bounds memory."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Ids = NDArray[np.int64]


class Overlap(NamedTuple):
    """What an item shares with the training texts."""

    num_tokens: int
    contaminated: int
    """Tokens inside runs of LLaMA-2's kind."""
    has_exact_run: bool
    """Whether 13 tokens on end are equal: GPT-3's measure."""
    rows: tuple[int, ...]
    """The training texts that share runs with the item, by place, the one with the most tokens first; at most five."""

    @property
    def share(self) -> float:
        """Contaminated tokens by tokens; 0 for an item without tokens."""
        return self.contaminated / self.num_tokens if self.num_tokens else 0.0

    @property
    def dirty(self) -> bool:
        return self.share >= DIRTY

    @property
    def clean(self) -> bool:
        return self.share < CLEAN


class _Texts(NamedTuple):
    """Token lists one after the other, a separator behind each."""

    ids: Ids
    row_of: Ids
    """The text of each place."""
    starts: Ids


def overlaps(items: Sequence[Sequence[Hashable]], training: Sequence[Sequence[Hashable]]) -> list[Overlap]:
    """What each item shares with all training texts. Both are lists of token lists, of one tokenisation."""
    vocabulary: dict[Hashable, int] = {}
    asked = _joined(items, vocabulary, separator=-1)
    trained = _joined(training, vocabulary, separator=-2)
    marked = np.zeros(len(asked.ids), dtype=bool)
    exact = np.zeros(len(items), dtype=bool)
    rows: list[dict[int, int]] = [{} for _ in items]
    for run in _runs(asked, trained):
        marked[run.places] = True
        exact[run.item] |= run.exact_tokens >= EXACT_TOKENS
        rows[run.item][run.row] = max(rows[run.item].get(run.row, 0), len(run.places))
    counts = np.bincount(asked.row_of, weights=marked, minlength=len(items)).astype(int).tolist()
    return [
        Overlap(len(item), count, bool(has_exact), tuple(sorted(found, key=lambda row: (-found[row], row))[:5]))
        for item, count, has_exact, found in zip(items, counts, exact, rows, strict=True)
    ]


class Shared(NamedTuple):
    """What one training text holds of one item: `tokens` of it in runs of LLaMA-2's kind."""

    item: int
    row: int
    tokens: int


def shared(items: Sequence[Sequence[Hashable]], training: Sequence[Sequence[Hashable]]) -> list[Shared]:
    """Every pair of an item and a training text that has a run in common, in order."""
    vocabulary: dict[Hashable, int] = {}
    asked = _joined(items, vocabulary, separator=-1)
    trained = _joined(training, vocabulary, separator=-2)
    places: dict[tuple[int, int], set[int]] = {}
    for run in _runs(asked, trained):
        places.setdefault((run.item, run.row), set()).update(run.places.tolist())
    return [Shared(*pair, len(found)) for pair, found in sorted(places.items())]


class _Run(NamedTuple):
    """A run of more than ten tokens: its item, its training text, the equal tokens' places among all items'."""

    item: int
    row: int
    places: Ids
    exact_tokens: int
    """Length up to the first token that differs."""


def _runs(asked: _Texts, trained: _Texts) -> Iterator[_Run]:
    for p, q in _seeds(asked.ids, trained.ids):
        lengths, exact = _extended(asked.ids, trained.ids, p, q)
        for i in np.flatnonzero(lengths > SEED_TOKENS):
            start, place, length = p[i], q[i], lengths[i]
            same = asked.ids[start : start + length] == trained.ids[place : place + length]
            item, row = int(asked.row_of[start]), int(trained.row_of[place])
            yield _Run(item, row, start + np.flatnonzero(same), int(exact[i]))


def _joined(texts: Iterable[Sequence[Hashable]], vocabulary: dict[Hashable, int], separator: int) -> _Texts:
    ids: list[int] = []
    lengths = []
    for tokens in texts:
        ids += [vocabulary.setdefault(token, len(vocabulary)) for token in tokens]
        ids.append(separator)
        lengths.append(len(tokens) + 1)
    sizes = np.array(lengths, dtype=np.int64)
    return _Texts(np.array(ids, dtype=np.int64), np.repeat(np.arange(len(sizes)), sizes), np.cumsum(sizes) - sizes)


def _seeds(asked: Ids, trained: Ids) -> Iterator[tuple[Ids, Ids]]:
    """Places (p, q) where ten tokens are equal and the one before is not: the starts of all maximal runs, in blocks."""
    hashes, places = _hashes(trained)
    order = np.argsort(hashes, kind="stable")
    hashes, places = hashes[order], places[order]
    wanted, starts = _hashes(asked)
    left, right = (np.searchsorted(hashes, wanted, side=side) for side in ("left", "right"))
    hit = np.flatnonzero(right > left)
    starts, left, counts = starts[hit], left[hit], (right - left)[hit]
    block = np.cumsum(counts) // BLOCK
    for number in np.unique(block):
        mine = block == number
        size = counts[mine]
        p = np.repeat(starts[mine], size)
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        q = places[np.repeat(left[mine], size) + within]
        new = (p == 0) | (q == 0) | (asked[p - 1] != trained[q - 1])
        p, q = p[new], q[new]
        for k in range(SEED_TOKENS):  # hashes may collide; tokens decide
            same = asked[p + k] == trained[q + k]
            p, q = p[same], q[same]
        yield p, q


def _hashes(ids: Ids) -> tuple[NDArray[np.uint64], Ids]:
    """A hash of every ten tokens on end without a separator, and where each starts."""
    size = len(ids) - SEED_TOKENS + 1
    if size < 1:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    total = np.zeros(size, dtype=np.uint64)
    whole = np.ones(size, dtype=bool)
    for k in range(SEED_TOKENS):
        window = ids[k : k + size]
        total = total * MULTIPLIER + window.astype(np.uint64) + np.uint64(1)
        whole &= window >= 0
    mixed = (total ^ (total >> np.uint64(29))) * MULTIPLIER
    starts = np.flatnonzero(whole)
    return mixed[starts], starts


def _extended(asked: Ids, trained: Ids, p: Ids, q: Ids) -> tuple[Ids, Ids]:
    """Length of each run with up to four tokens that differ, the last equal; and up to the first that differs."""
    lengths = np.full(len(p), SEED_TOKENS)
    exact = np.full(len(p), SEED_TOKENS)
    skipped = np.zeros(len(p), dtype=np.int64)
    active = np.arange(len(p))
    k = SEED_TOKENS
    while len(active):
        mine, theirs = asked[p[active] + k], trained[q[active] + k]
        same = mine == theirs  # never at a separator: the two kinds differ
        k += 1
        lengths[active[same]] = k
        exact[active[same & (skipped[active] == 0)]] = k
        skipped[active[~same]] += 1
        active = active[(mine >= 0) & (theirs >= 0) & (skipped[active] <= SKIPS)]
    return lengths, exact
