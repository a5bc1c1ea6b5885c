"""Does an answer keep to a demand that its words can tell? Case, punctuation and Unicode's ways of writing count for
nothing; parts of words do not count as the word.
"""

from __future__ import annotations

from .words import words_of


def ends_with_word(text: str, word: str) -> bool:
    """Whether the last word of `text` is `word`. Raises ValueError where `word` is not one word."""
    return words_of(text)[-1:] == [_one_word(word)]


def mentions_word(text: str, word: str) -> bool:
    """Whether `word` is among the words of `text`. Raises ValueError where `word` is not one word."""
    return _one_word(word) in words_of(text)


def _one_word(word: str) -> str:
    words = words_of(word)
    if len(words) != 1:
        raise ValueError(f"{word!r} is {len(words)} words; give one")
    return words[0]
