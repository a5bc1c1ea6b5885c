"""Many conversations to rows of tokens: what `ChatFormat.render` gives for each, in the same order, sooner.

Conversations go in chunks of two megabytes: the contents of a chunk are encoded together (`TextCodec.contents`), and
arrays put ids and masks together. Two chunks are worked on at once, since arrays need Python's lock for little of it;
memory holds four beside the rows that were taken. What cannot be done this way is left to `render`, every error
included, so that a user reads the same words.

Left out: fewer checks for templates from outside, which still render each conversation once to compare; batches for
tokenizers of the SentencePiece kind, for which the token before a text matters.

    for row in render_many(policy.chat, conversations): ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from camelid.models.batch import Row
from camelid.models.chat import ChatFormat, TrainOn
from camelid.models.skeleton import ChatFormatError, Slot
from camelid.types import Message

Ids = NDArray[np.int32]
CHUNK_CHARS = 2 << 20
"""A chunk's arrays take some 30 times its size while they are made."""
THREADS = 2
"""A third one would wait for Python's lock."""


def render_many(
    chat: ChatFormat,
    conversations: Iterable[Sequence[Message]],
    *,
    train_on: TrainOn = "assistant",
) -> Iterator[Row]:
    """A row for each conversation, its ids and mask as arrays.

    Raises what `chat.render` raises for the first conversation that has no row, in its turn: the rows before it come
    first.
    """

    def rows(chunk: _Chunk, made: list[Row | None]) -> Iterator[Row]:
        for messages, row in zip(chunk.conversations, made, strict=True):
            if row is None:
                rendered = chat.render(messages, train_on=train_on)
                row = Row(np.array(rendered.ids, dtype=np.int32), np.array(rendered.loss_mask))
            yield row

    waiting: deque[tuple[_Chunk, Future[list[Row | None]]]] = deque()
    with ThreadPoolExecutor(THREADS) as threads:
        for chunk in _chunks(chat, conversations):
            waiting.append((chunk, threads.submit(_rows, chat, chunk, train_on)))
            if len(waiting) > 2 * THREADS - 1:
                done, future = waiting.popleft()
                yield from rows(done, future.result())
        while waiting:
            done, future = waiting.popleft()
            yield from rows(done, future.result())


@dataclass
class _Chunk:
    """Conversations with their segments: None where the chat format refuses one."""

    conversations: list[Sequence[Message]] = field(default_factory=list)
    segments: list[list[list[int] | Slot] | None] = field(default_factory=list)
    num_chars: int = 0


def _chunks(chat: ChatFormat, conversations: Iterable[Sequence[Message]]) -> Iterator[_Chunk]:
    chunk = _Chunk()
    for messages in conversations:
        try:
            segments = chat.segments(messages, generation=False)
        except ChatFormatError:
            segments = None
        chunk.conversations.append(messages)
        chunk.segments.append(segments)
        chunk.num_chars += sum(len(message.content) for message in messages)
        if chunk.num_chars >= CHUNK_CHARS:
            yield chunk
            chunk = _Chunk()
    if chunk.conversations:
        yield chunk


def _rows(chat: ChatFormat, chunk: _Chunk, train_on: TrainOn) -> list[Row | None]:
    """The chunk's rows; None for one that `render` has to make, or to refuse."""
    texts = [
        segment.text(messages[segment.message].content)
        for messages, segments in zip(chunk.conversations, chunk.segments, strict=True)
        for segment in segments or ()
        if isinstance(segment, Slot)
    ]
    encoded = chat.codec.contents(texts)
    if encoded is None:
        return [None] * len(chunk.conversations)
    parts, turns, num_parts = _parts(chunk, *encoded)
    places = np.cumsum([0, *map(len, parts)])
    ids = np.concatenate(parts)
    mask = _mask(places, turns, train_on)
    ends = places[np.cumsum(num_parts)].tolist()
    rows: list[Row | None] = []
    for start, end in zip([0, *ends], ends, strict=False):
        own = slice(start, end)
        if train_on == "everything":
            mask[start : start + 1] = False  # nothing stands before it to predict it
        # Copies: a part of an array would keep all of it in memory, for rows that are not taken too.
        rows.append(Row(ids[own].copy(), mask[own].copy()) if mask[own].any() else None)
    return rows


def _parts(chunk: _Chunk, contents: Ids, lengths: NDArray[np.int64]) -> tuple[list[Ids], list[list[int]], list[int]]:
    """All ids of the chunk in order; which parts of each conversation are the assistant's; how many parts each has."""
    ends = iter(np.cumsum(lengths).tolist())
    start = 0
    parts: list[Ids] = [np.zeros(0, dtype=np.int32)]
    turns: list[list[int]] = []
    num_parts = []
    control: dict[int, Ids] = {}
    for segments in chunk.segments:
        turns.append([])
        first = len(parts)
        for segment in segments or ():
            if isinstance(segment, Slot):
                if segment.role == "assistant":
                    turns[-1].append(len(parts))
                end = next(ends)
                parts.append(contents[start:end])
                start = end
                continue
            if id(segment) not in control:
                control[id(segment)] = np.array(segment, dtype=np.int32)
            parts.append(control[id(segment)])
        num_parts.append(len(parts) - first)
    num_parts[0] += 1  # the empty one at the start
    return parts, turns, num_parts


def _mask(places: NDArray[np.int64], turns: list[list[int]], train_on: TrainOn) -> NDArray[np.bool_]:
    """Which ids train: those from a turn's start to its end of turn, the first id of the part that follows."""
    if train_on == "everything":
        return np.ones(places[-1], dtype=bool)
    trained = np.array([t for own in turns for t in (own if train_on == "assistant" else own[-1:])], dtype=np.int64)
    change = np.zeros(places[-1] + 1, dtype=np.int8)
    change[places[trained]] += 1
    change[places[trained + 1] + 1] -= 1
    return np.cumsum(change[:-1], dtype=np.int8).astype(bool)
