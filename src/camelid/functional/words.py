"""What counts as a word where texts are compared with evaluation sets."""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Case-folded words without punctuation, the same for all ways in which Unicode writes a character."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())
