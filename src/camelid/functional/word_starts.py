r"""Where GPT-2's pattern cuts a text into words, for a whole buffer of texts at once.

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

(Radford et al. 2019, encoder.py of openai/gpt-2.) Byte-level tokenizers cut a text by it before they merge bytes. A
regular expression engine takes a step a character; here a dozen passes over arrays of bytes do it. What a character is,
the caller says: tables of Unicode differ between programs and years.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LETTER, NUMBER, OTHER, SPACE, ALONE = range(5)
r"""Kinds of characters: \p{L}, \p{N}, none of the three, \s, and those at which the text is cut on both sides first."""

_BLANK, _APOSTROPHE = ord(" "), ord("'")


def word_starts(data: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Offsets of the bytes at which a word starts.

    `data`: (N,) UTF-8. `kinds`: (N,), the kind of each byte's character. Every ALONE character is a word, and the text
    on each side of it is cut as a text of its own, so that one of them between two texts keeps them apart. The last
    byte must be such a character.
    """
    starts = np.ones(len(data), dtype=bool)
    np.not_equal(kinds[1:], kinds[:-1], out=starts[1:])
    alone = np.flatnonzero(kinds == ALONE)
    starts[alone[~_continues(data[alone])]] = True
    _give_back_last_space(starts, data, kinds)
    _join_contractions(starts, data, kinds)
    return np.flatnonzero(starts)


def _give_back_last_space(starts: NDArray[np.bool_], data: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> None:
    r"""`\s+(?!\S)` leaves the last space before a word; a blank then joins the word, another space stands by itself."""
    spaces = kinds == SPACE
    words = kinds < SPACE
    ends = np.flatnonzero(spaces[:-1] & words[1:])  # last byte of white space before a word
    blank = data[ends] == _BLANK
    starts[ends[blank]] = True
    starts[ends[blank] + 1] = False
    last = ends[~blank]
    for _ in range(3):  # back to the character's first byte
        last = np.where(_continues(data[last]), last - 1, last)
    starts[last] = True


def _join_contractions(starts: NDArray[np.bool_], data: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> None:
    """An apostrophe at a word's start takes s, t, m, d, re, ve or ll along, and the letters after those start anew."""
    quotes = np.flatnonzero(data[:-1] == _APOSTROPHE)
    quotes = quotes[starts[quotes] & (kinds[quotes + 1] == LETTER)]
    first, second = data[quotes + 1], data[np.minimum(quotes + 2, len(data) - 1)]
    short = np.isin(first, list(b"stmd"))
    long = np.isin(first, list(b"rv")) & (second == ord("e")) | (first == ord("l")) & (second == ord("l"))
    starts[quotes[short | long] + 1] = False
    starts[quotes[short] + 2] = True
    starts[quotes[long] + 3] = True


def _continues(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Bytes that continue a character of UTF-8: 10xxxxxx."""
    return (data & 0xC0) == 0x80
