"""Style of answers beside reference answers to the same prompts, each number with its interval over prompts.

    style_of(["1. a\\n2. b"], ["- c\\n- d"]).lists_where_reference_does.value

Left out: how sure the whole answer sounds and whether it is pleasant to read, for which one needs a judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camelid.evaluate.imitation.plain import plain
from camelid.functional.bootstrap import Floats, bootstrap_statistic, pearson, share_where
from camelid.functional.diversity import distinct_ngrams
from camelid.functional.statistics import Estimate, bootstrap_mean, proportion
from camelid.functional.style import TONES, has_list, ngram_overlap, num_words, opening_tone


@dataclass(frozen=True)
class Style:
    """How answers look beside the reference's. None: the prompts cannot tell (the reference never lists, say)."""

    n: int
    empty: int
    """Answers without a word: they list nothing, share nothing, and are 0 words long."""
    similarity: Estimate
    """One number for a figure's axis: the mean of list agreement, length correlation and unigram F1 (of those that
    exist). 0 for answers that have nothing to do with the reference's, 1 for the same answers."""
    lists_where_reference_does: Estimate | None
    lists_where_reference_does_not: Estimate | None
    same_list_use: Estimate
    """Share of prompts on which both list or neither does."""
    list_agreement: Estimate | None
    """Youden's J: the first share less the second. 0 if lists come whatever the prompt, 1 if just where they should."""
    length_correlation: Estimate | None
    """Pearson's, of the numbers of words."""
    unigram_recall: Estimate
    unigram_f1: Estimate
    bigram_recall: Estimate
    bigram_f1: Estimate
    words: Estimate
    reference_words: Estimate
    tones: dict[str, Estimate]
    """Share of answers that open in each manner of `functional.style.TONES`."""
    reference_tones: dict[str, Estimate]
    same_tone: Estimate
    """Share of answers that open in the reference's manner."""
    distinct_1: float
    distinct_2: float

    def as_json(self) -> dict[str, Any]:
        """Plain values: each estimate as an object with value, low, high, n, standard_error."""
        return {name: plain(value) for name, value in vars(self).items()}


def style_of(answers: Sequence[str], references: Sequence[str], *, num_resamples: int = 2000) -> Style:
    """Style of `answers[i]` beside `references[i]`, both to prompt i. Raises ValueError where there is none."""
    if len(answers) != len(references) or not answers:
        raise ValueError(f"{len(answers)} answers beside {len(references)} references; need as many, and at least one")
    n = len(answers)
    lists, wanted = _floats(map(has_list, answers)), _floats(map(has_list, references))
    words, wanted_words = _floats(map(num_words, answers)), _floats(map(num_words, references))
    pairs = list(zip(answers, references, strict=True))
    unigrams, bigrams = ([ngram_overlap(a, r, k) for a, r in pairs] for k in (1, 2))
    f1 = _floats(o.f1 for o in unigrams)
    tones, wanted_tones = list(map(opening_tone, answers)), list(map(opening_tone, references))

    def agreement(counts: Floats) -> Floats:
        return share_where(lists, wanted, counts) - share_where(lists, 1 - wanted, counts)

    def correlation(counts: Floats) -> Floats:
        return pearson(words, wanted_words, counts)

    once = np.ones((1, n))
    parts = [part for part in (agreement, correlation) if np.isfinite(part(once)[0])]

    def similarity(counts: Floats) -> Floats:
        return np.mean([*(part(counts) for part in parts), counts @ f1 / n], axis=0)

    def estimate(statistic: Callable[[Floats], Floats]) -> Estimate | None:
        defined = statistic in parts
        return bootstrap_statistic(n, statistic, num_resamples=num_resamples) if defined else None

    return Style(
        n=n,
        empty=int((words == 0).sum()),
        similarity=bootstrap_statistic(n, similarity, num_resamples=num_resamples),
        lists_where_reference_does=_share(lists[wanted == 1]),
        lists_where_reference_does_not=_share(lists[wanted == 0]),
        same_list_use=proportion(float((lists == wanted).sum()), n),
        list_agreement=estimate(agreement),
        length_correlation=estimate(correlation),
        unigram_recall=bootstrap_mean([o.recall for o in unigrams]),
        unigram_f1=bootstrap_mean(f1),
        bigram_recall=bootstrap_mean([o.recall for o in bigrams]),
        bigram_f1=bootstrap_mean([o.f1 for o in bigrams]),
        words=bootstrap_mean(words),
        reference_words=bootstrap_mean(wanted_words),
        tones=_shares(tones),
        reference_tones=_shares(wanted_tones),
        same_tone=proportion(sum(a == r for a, r in zip(tones, wanted_tones, strict=True)), n),
        distinct_1=distinct_ngrams(answers, 1),
        distinct_2=distinct_ngrams(answers, 2),
    )


def _floats(values: Any) -> Floats:
    return np.array([float(value) for value in values])


def _share(values: Floats) -> Estimate | None:
    return proportion(float(values.sum()), len(values)) if len(values) else None


def _shares(tones: Sequence[str]) -> dict[str, Estimate]:
    counts = Counter(tones)
    return {tone: proportion(counts[tone], len(tones)) for tone in TONES}
