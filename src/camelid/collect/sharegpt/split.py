"""Long conversations cut into segments between whole turns, after the user's and the assistant's (a pair).

`whole_segments` keeps every pair that fits. `fastchat_segments` does as FastChat's `split_long_conversation.py`: where
the last pair overflows it is lost, and a pair that is too long by itself becomes a segment that is too long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Split(NamedTuple):
    """Segments as (first pair, pair after the last), and the pairs that are in none."""

    segments: list[tuple[int, int]]
    left_out: list[int]


def whole_segments(pair_tokens: Sequence[int], limit: int) -> Split:
    """As many pairs a segment as fit into `limit` tokens. A pair longer than that is left out, and parts segments."""
    segments: list[tuple[int, int]] = []
    left_out: list[int] = []
    start = total = 0
    for i, tokens in enumerate(pair_tokens):
        if tokens > limit or total + tokens > limit:
            segments.append((start, i))
            start, total = i, 0
        if tokens > limit:
            left_out.append(i)
            start = i + 1
        else:
            total += tokens
    segments.append((start, len(pair_tokens)))
    return Split([(a, b) for a, b in segments if a < b], left_out)


def fastchat_segments(pair_tokens: Sequence[int], limit: int) -> Split:
    """The original's segments, those without a pair left out, as its next step does."""
    segments: list[tuple[int, int]] = []
    start = total = 0
    last = len(pair_tokens) - 1
    for i, tokens in enumerate(pair_tokens):
        if total + tokens > limit:
            segments.append((start, i))
            start, total = i, 0
        elif i == last:
            segments.append((start, i + 1))
        total += tokens
    kept = {i for a, b in segments for i in range(a, b)}
    return Split([(a, b) for a, b in segments if a < b], [i for i in range(len(pair_tokens)) if i not in kept])
