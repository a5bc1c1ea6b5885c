"""A growing collection of texts, asked which of them a new one nearly repeats: ROUGE-L above a threshold, exactly.

What `near_copies` does for a list, for texts that come one by one (self-instruct's pool) or for two lists. Texts that
share a word of their prefixes are compared, where the prefixes are long enough for partners of any length; the order
of words may be any, so long as it is one order, and the rarer a word the fewer texts share it. Words that are new come
first; when the collection has doubled, words are ordered by frequency anew.

    pool = NearIndex([rouge_words(text) for text in seeds])
    if not pool.find(words):    # the places and scores of near copies
        print(pool.most_similar(words, 10))
        pool.add(words)
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from .near_copies import check_threshold, occurrences, shortest_partner, words_needed
from .rouge import lcs_length

FEWEST = 64
"""Texts below which no order is made anew."""


class Near(NamedTuple):
    """A text of the collection, by place, and its ROUGE-L F1 with the one asked about."""

    place: int
    score: float


class NearIndex:
    """Word lists, from `rouge.rouge_words`. Raises ValueError unless the threshold lies between 0 and 1."""

    def __init__(self, texts: Iterable[Sequence[str]] = (), threshold: float = 0.7):
        self.threshold = check_threshold(threshold)
        self._texts: list[Sequence[str]] = []
        self._lengths = array("i")
        self._with_word: defaultdict[tuple[str, int], array[int]] = defaultdict(lambda: array("i"))
        """Where each word occurs so many times, for `most_similar`."""
        for words in texts:
            self._list(words)
        self._order_anew()

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, words: Sequence[str]) -> int:
        """Take a text in; its place."""
        self._list(words)
        if len(self._texts) >= self._ordered_up_to:
            self._order_anew()
        else:
            self._enter(len(self._texts) - 1)
        return len(self._texts) - 1

    def find(self, words: Sequence[str]) -> list[Near]:
        """All texts whose ROUGE-L with this one is above the threshold, in order of place."""
        length = len(words)
        numbered = self._numbered(words)
        bag, shortest = frozenset(numbered), shortest_partner(length, self.threshold)
        found = []
        for i in set().union(*(self._holding[word] for word in self._prefix(numbered) if word in self._holding)):
            other = self._texts[i]
            needed = words_needed(length, len(other), self.threshold)
            if shortest <= len(other) and needed <= length and len(bag & self._bags[i]) >= needed:
                common = lcs_length(words, other)
                if common >= needed:
                    found.append(Near(i, 2 * common / (length + len(other))))
        return sorted(found)

    def most_similar(self, words: Sequence[str], number: int) -> list[Near]:
        """The `number` texts with the highest ROUGE-L, whatever the threshold, from the highest; of equals the earlier.

        Texts with no common word are none. Exact: twice the common words over all words bounds ROUGE-L from above, and
        texts are compared from the highest bound down, until none that is left can be among them.
        """
        places = [self._with_word[o] for o in occurrences(words) if o in self._with_word]
        if not places:
            return []
        common = np.bincount(np.concatenate([np.frombuffer(p, np.int32) for p in places]), minlength=len(self))
        bounds = 2 * common / (len(words) + np.frombuffer(self._lengths, np.int32))
        found: list[tuple[float, int]] = []
        for i in np.argsort(-bounds, kind="stable").tolist():
            if not common[i] or (len(found) == number and bounds[i] < found[-1][0]):
                break
            score = 2 * lcs_length(words, self._texts[i]) / (len(words) + len(self._texts[i]))
            found = sorted([*found, (score, i)], key=lambda one: (-one[0], one[1]))[:number]
        return [Near(i, score) for score, i in found]

    def _list(self, words: Sequence[str]) -> None:
        for occurrence in occurrences(words):
            self._with_word[occurrence].append(len(self._texts))
        self._texts.append(words)
        self._lengths.append(len(words))

    def _order_anew(self) -> None:
        self._ordered_up_to = 2 * max(len(self._texts), FEWEST)
        frequency = Counter(occurrence for words in self._texts for occurrence in occurrences(words))
        by_frequency = sorted(frequency, key=lambda o: (frequency[o], o))
        self._rank = {occurrence: i for i, occurrence in enumerate(by_frequency)}
        self._num_new = 0
        self._holding: defaultdict[int, list[int]] = defaultdict(list)
        self._bags: list[frozenset[int]] = []
        for place in range(len(self._texts)):
            self._enter(place)

    def _enter(self, place: int) -> None:
        words = self._texts[place]
        for occurrence in occurrences(words):
            if occurrence not in self._rank:
                self._num_new += 1
                self._rank[occurrence] = -self._num_new
        numbered = self._numbered(words)
        self._bags.append(frozenset(numbered))
        for word in self._prefix(numbered):
            self._holding[word].append(place)

    def _numbered(self, words: Sequence[str]) -> list[int]:
        """From the rarest. What no text of the collection holds comes before all, and is like nothing in it."""
        unknown = -(self._num_new + 1)
        return sorted(self._rank.get(o, unknown - i) for i, o in enumerate(occurrences(words)))

    def _prefix(self, numbered: Sequence[int]) -> Sequence[int]:
        length = len(numbered)
        if not length:
            return ()
        return numbered[: length - words_needed(length, shortest_partner(length, self.threshold), self.threshold) + 1]
