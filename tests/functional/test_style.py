"""Style measures: what counts as a list, n-grams by hand, one rule a tone; bootstrap against known cases."""

import math

import numpy as np
import pytest

from camelid.functional.bootstrap import bootstrap_statistic, pearson, share_where
from camelid.functional.seeds import over_seeds
from camelid.functional.statistics import Estimate
from camelid.functional.style import TONES, has_list, ngram_overlap, num_words, opening_tone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. Eat\n2. Sleep", True),
        ("Do this:\n- eat\n- sleep\n", True),
        ("Do this:\n  * eat\n\n  * sleep", True),
        ("• eat\n• sleep", True),
        ("a) eat\nb) sleep", True),
        ("1) eat\n2) sleep", True),
        ("Only one:\n- eat", False),  # one item is no list
        ("I rose 1. in rank 2. in fame", False),  # inside a line
        ("2.5 litres\n3.5 litres", False),  # numbers, no space after the point
        ("--\n--", False),
        ("-eat\n-sleep", False),
        ("1999. 12\nis a date", False),
        ("", False),
    ],
)
def test_what_a_list_is(text, expected):
    assert has_list(text) is expected


def test_overlap_by_hand():
    # Unigrams: answer the, cat, sat, the (4); reference the, cat, ran (3). Shared: the once, cat once = 2.
    overlap = ngram_overlap("The cat sat, the", "the cat ran!", 1)
    assert overlap.recall == pytest.approx(2 / 3)
    assert overlap.precision == pytest.approx(2 / 4)
    assert overlap.f1 == pytest.approx(2 * 2 / (3 + 4))  # harmonic mean = 2 shared / (n + m)
    # Bigrams: the-cat, cat-sat, sat-the against the-cat, cat-ran: 1 shared of 3 and 2.
    assert ngram_overlap("The cat sat, the", "the cat ran!", 2).f1 == pytest.approx(2 / 5)


def test_overlap_of_nothing_is_nothing():
    assert ngram_overlap("", "words here", 1).f1 == 0
    assert ngram_overlap("words", "words", 2).f1 == 0  # no bigram in either
    with pytest.raises(ValueError, match="at least 1 word"):
        ngram_overlap("a", "b", 0)


def test_words_keep_their_apostrophes_and_are_what_white_space_separates_in_lengths():
    assert ngram_overlap("Don't!", "don't", 1).f1 == 1
    assert num_words("a-b  c\nd") == 3


@pytest.mark.parametrize(
    ("text", "tone"),
    [
        ("Paris is the capital of France. I may be wrong.", "plain"),  # the first sentence alone counts
        ("I think it is Paris.", "first_person"),
        ("It’s in my book.", "first_person"),
        ("It may be Paris.", "hedged"),
        ("I'm sorry, but I cannot.", "apology"),
        ("Unfortunately, no.", "apology"),
        ("As an AI language model, I have no body.", "apology"),
        ("Sure! Here it is.", "compliance"),
        ("Here are some tips:\n1. Eat", "compliance"),
        ("**Here is** it", "compliance"),
        ("Which one do you mean?", "question"),
        ("Sorrow is a feeling.", "plain"),  # not "sorry"
        ("Surely a mistake.", "plain"),
        ("  \n", "empty"),
    ],
)
def test_tones(text, tone):
    assert opening_tone(text) == tone
    assert tone in TONES


def test_pearson_weighed_by_counts_is_pearson_of_the_repeated_units():
    x, y = np.array([1.0, 2.0, 4.0, 7.0]), np.array([2.0, 1.0, 5.0, 6.0])
    counts = np.array([[1.0, 1, 1, 1], [2, 0, 1, 3]])
    plain = np.corrcoef(x, y)[0, 1]
    repeated = np.corrcoef([1, 1, 4, 7, 7, 7], [2, 2, 5, 6, 6, 6])[0, 1]
    assert pearson(x, y, counts) == pytest.approx([plain, repeated])


@pytest.mark.parametrize("constant", [0.0, 3.0, 1e6])
def test_no_correlation_with_a_constant(constant):
    x = np.full(5, constant)
    assert np.isnan(pearson(x, np.arange(5.0), np.ones((1, 5)))[0])


def test_share_where_there_is_nothing_is_undefined():
    values, where = np.array([1.0, 0, 1]), np.array([1.0, 1, 0])
    assert share_where(values, where, np.ones((1, 3)))[0] == pytest.approx(1 / 2)
    assert np.isnan(share_where(values, where, np.array([[0.0, 0, 5]]))[0])


def test_the_bootstrap_of_a_mean_has_the_means_standard_error():
    x = np.random.default_rng(0).normal(2.0, 3.0, size=400)
    estimate = bootstrap_statistic(400, lambda counts: counts @ x / 400)
    assert estimate.value == pytest.approx(x.mean())
    # std / sqrt(n); 2,000 resamples give it within some percent
    assert estimate.standard_error == pytest.approx(x.std(ddof=1) / 20, rel=0.06)
    assert estimate.low < x.mean() < estimate.high


def test_a_statistic_that_hardly_ever_exists_has_no_interval():
    undefined = bootstrap_statistic(10, lambda counts: np.full(len(counts), math.nan))
    assert math.isnan(undefined.value)
    assert undefined.high == math.inf


def test_over_seeds_by_hand():
    # Values 1, 2, 3: mean 2, variance 1, so var / K = 1/3. SE_k = 0.5: mean square 0.25. SE = sqrt(0.58333) = 0.763763.
    seeds = [Estimate(v, v - 1, v + 1, 50, 0.5) for v in (1.0, 2.0, 3.0)]
    pooled = over_seeds(seeds)
    assert pooled.value == pytest.approx(2.0)
    assert pooled.standard_error == pytest.approx(0.763763, abs=1e-6)
    assert pooled.high - pooled.low == pytest.approx(2 * 1.959964 * 0.763763, abs=1e-5)
    assert over_seeds(seeds[:1]) == seeds[0]
    with pytest.raises(ValueError, match="no seed"):
        over_seeds([])
