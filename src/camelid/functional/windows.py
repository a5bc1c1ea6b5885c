"""Documents cut into windows of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal

Layout = Literal["apart", "joined"]
"""`apart`: every document by itself. `joined`: all end to end, as pretraining does, so short ones fill long windows."""


def windows(
    documents: Sequence[Sequence[int]], length: int, layout: Layout, separator: int, *, least: int = 8
) -> list[list[int]]:
    """Token windows of `length`, in order, no token in two.

    `apart`: the end of a document may give a shorter window, dropped below `least` tokens. `joined`: `separator`
    follows every document, and what does not fill the last window is dropped. Raises ValueError for a length below 2.
    """
    if length < 2:
        raise ValueError(f"windows of {length} tokens predict nothing; take at least 2")
    if layout == "joined":
        stream = list(chain.from_iterable((*document, separator) for document in documents))
        return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]
    pieces = (list(document[i : i + length]) for document in documents for i in range(0, len(document), length))
    return [piece for piece in pieces if len(piece) >= min(least, length)]
