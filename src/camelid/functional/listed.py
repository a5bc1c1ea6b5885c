"""A list that a model wrote, as a list: what it was asked for, an item a line."""

from __future__ import annotations

import re

from .words import words_of

MARK = re.compile(r"^\s*(?:\d+\s*[.):]|[-*\u2022])\s*")
"""What stands before an item: a number, a dash, a star, a bullet."""
AFTER = re.compile(r"\s*(?::|\(|\s[-\u2013\u2014]\s).*$")
"""What explains an item: after a colon, in brackets, after a dash between blanks."""


def listed_items(text: str, *, max_words: int = 4) -> list[str]:
    """The items of a written list, each once, in order: lines with a number or bullet, or all lines where none has one.

    Explanations go ("Chess: a game" is "Chess"), as do items of more than `max_words` words: sentences are no items.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if MARK.match(line)]
    items: dict[str, str] = {}
    for line in marked or lines:
        item = AFTER.sub("", MARK.sub("", line)).strip(" \t*_\"'.,;")
        words = words_of(item)
        if 1 <= len(words) <= max_words:
            items.setdefault(" ".join(words), item)
    return list(items.values())
