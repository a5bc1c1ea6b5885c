"""ROUGE-L F1 of two texts, the longest common subsequence of their words (Lin 2004, 'ROUGE: A Package for Automatic
Evaluation of Summaries', section 3), with the words of the rouge-score package without its stemmer.

Those words are runs of a-z and 0-9 after lower-casing: text in other scripts has none, and is like nothing, itself not
excepted.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

WORD = re.compile(r"[a-z0-9]+")


def rouge_words(text: str) -> list[str]:
    """The words that ROUGE compares."""
    return WORD.findall(text.lower())


def rouge_l(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """F1 = 2 L / (|a| + |b|), L the length of the longest common subsequence; 0 where either has no words.

    Equal to 2 P R / (P + R) with precision P = L / |b| and recall R = L / |a|.
    """
    return 2 * lcs_length(a, b) / (len(a) + len(b)) if a and b else 0.0


def lcs_length(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, by bit-parallel dynamic programming (Hyyrö 2004, 'Bit-parallel
    LCS-length computation revisited').

    Bit i of `rows` is 0 where the column's value grows from word i of `a` to the next; an integer addition moves all
    bits at once, so the cost is |b| operations for |a| up to 64 words, and |a| / 64 times that for more.
    """
    places: dict[Hashable, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    every = (1 << len(a)) - 1
    rows = every
    for word in b:
        common = rows & places.get(word, 0)
        rows = ((rows + common) | (rows - common)) & every
    return len(a) - rows.bit_count()
