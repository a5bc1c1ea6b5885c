"""Which texts repeat a prompt of an evaluation set: training on them would make the evaluation worthless.

Two tests, after case-folding and without punctuation: the same text, white space aside; or a share of word 5-grams. The
share is taken of the shorter text's 5-grams, so that a prompt inside a longer instruction is found too. Texts of fewer
than five words, and texts without spaces between words, are only found by the first test.

Left out: paraphrases and translations, which no string test finds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from camelid.functional.words import words_of

GRAM_WORDS = 5
LEAST_SHARE = 0.6


def grams_of(words: list[str]) -> set[str]:
    """The distinct runs of five words."""
    return {" ".join(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1)}


class Match(NamedTuple):
    """The prompt that a text repeats, and the share of common 5-grams; 1 for the same text."""

    prompt: str
    share: float


class Overlap:
    """An index of prompts: `Overlap(prompts).match(text)` takes time in the length of the text, not of the index."""

    def __init__(self, prompts: Iterable[str]) -> None:
        self._prompts = list(prompts)
        self._same: dict[str, int] = {}
        self._sizes: list[int] = []
        self._with_gram: defaultdict[str, list[int]] = defaultdict(list)
        for i, prompt in enumerate(self._prompts):
            words = words_of(prompt)
            grams = grams_of(words)
            if words:
                self._same.setdefault("".join(words), i)
            self._sizes.append(len(grams))
            for gram in grams:
                self._with_gram[gram].append(i)

    def __len__(self) -> int:
        return len(self._prompts)

    def match(self, text: str) -> Match | None:
        """The prompt that `text` repeats most, or None where it repeats none."""
        words = words_of(text)
        same = self._same.get("".join(words))
        if same is not None:
            return Match(self._prompts[same], 1.0)
        grams = grams_of(words)
        common = Counter(i for gram in grams for i in self._with_gram.get(gram, ()))
        shares = {i: n / min(len(grams), self._sizes[i]) for i, n in common.items()}
        best = max(shares, key=lambda i: (shares[i], -i), default=None)
        if best is None or shares[best] < LEAST_SHARE:
            return None
        return Match(self._prompts[best], shares[best])
