"""What counts as a word where texts are compared with others."""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"[^\W_]+")
WORD_OR_SIGN = re.compile(r"[^\W_]+|[-+*/=<>^%$€£&|~\\@#]")


def words_of(text: str) -> list[str]:
    """Case-folded words without punctuation, the same for all ways in which Unicode writes a character."""
    return WORD.findall(_folded(text))


def words_and_signs_of(text: str) -> list[str]:
    """The same with the signs that carry meaning, each by itself: 3 - 2 is not 3 + 2, and a full stop is nothing."""
    return WORD_OR_SIGN.findall(_folded(text))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
