"""A list that a model wrote, as a list: what it was asked for, an item a line; or numbers in their order."""

from __future__ import annotations

import re

from .words import words_of

MARK = re.compile(r"^\s*(?:\d+\s*[.):]|[-*\u2022])\s*")
"""What stands before an item: a number, a dash, a star, a bullet."""
AFTER = re.compile(r"\s*(?::|\(|\s[-\u2013\u2014]\s).*$")
"""What explains an item: after a colon, in brackets, after a dash between blanks."""
ORDER = re.compile(r"\s*\d+(?:\s*>\s*\d+)*\s*\.?\s*")


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


def ordered_numbers(text: str, count: int) -> list[int] | None:
    """The order in "2 > 1 > 3": each of 1 to `count` once, the best first. None for any other text."""
    if not ORDER.fullmatch(text):
        return None
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    return numbers if sorted(numbers) == list(range(1, count + 1)) else None
