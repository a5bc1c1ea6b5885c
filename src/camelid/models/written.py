"""The text of a completion as it grows: where it is to stop, and what of it can be shown already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
"""Text of tokens; control tokens are left out."""
MARGIN_TOKENS = 8
"""Control tokens that may stand between those of a stop string, and the parts of a character cut in two."""
BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What decoding puts for a character of which only some bytes are there."""


def has_stop(decode: Decode, ids: Sequence[int], stops: Sequence[str]) -> bool:
    """Whether one of `stops` stands at the end of `ids`, if need be across several tokens.

    Every token has a byte at least, so no more of them are looked at than the longest stop string has bytes.
    """
    if not stops:
        return False
    tail = decode(ids[-max(len(stop.encode()) for stop in stops) - MARGIN_TOKENS :])
    return any(stop in tail for stop in stops)


def before_stop(text: str, stops: Sequence[str]) -> str:
    """`text` up to the first of `stops`."""
    return text[: min((text.index(stop) for stop in stops if stop in text), default=len(text))]


class TextStream:
    """Shows a completion piece by piece; the pieces together are the text up to the first stop string."""

    def __init__(self, decode: Decode, stops: Sequence[str] = ()):
        self.decode, self.stops = decode, stops
        self.ids: list[int] = []
        self.shown = 0

    def add(self, token: int) -> str:
        """What can be shown now: no half character, and nothing that may yet turn out to be a stop string."""
        self.ids.append(token)
        text = self.decode(self.ids)
        whole = before_stop(text, self.stops)
        return self._show(whole if whole != text else self._certain(text))

    def finish(self) -> str:
        """The rest, when no token will come."""
        return self._show(before_stop(self.decode(self.ids), self.stops))

    def _certain(self, text: str) -> str:
        text = text.rstrip(BROKEN)
        beginnings = (stop[:n] for stop in self.stops for n in range(1, len(stop)))
        return text[: len(text) - max((len(found) for found in beginnings if text.endswith(found)), default=0)]

    def _show(self, text: str) -> str:
        piece, self.shown = text[self.shown :], max(self.shown, len(text))
        return piece
