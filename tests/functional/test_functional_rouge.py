"""ROUGE-L against the definition and the rouge-score package; near copies against the comparison of all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camelid.functional.near_copies import NearCopy, near_copies, near_copies_between, words_needed
from camelid.functional.near_index import NearIndex
from camelid.functional.rouge import lcs_length, rouge_l, rouge_words

WORDS = st.lists(st.sampled_from("abcd"), max_size=12)


def table_lcs(a, b) -> int:
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
    return int(table[-1, -1])


def test_words_are_runs_of_letters_and_digits():
    assert rouge_words("Don't STOP: 3.5 café!") == ["don", "t", "stop", "3", "5", "caf"]
    assert rouge_words("Привет, мир") == []


def test_by_hand():
    # "police kill the gunman" and "police killed the gunman" share police, the, gunman in order: 2 * 3 / (4 + 4).
    assert rouge_l(["police", "kill", "the", "gunman"], ["police", "killed", "the", "gunman"]) == 0.75
    assert rouge_l([], []) == rouge_l([], ["a"]) == 0.0
    assert lcs_length("abcbdab", "bdcaba") == 4  # Cormen et al., section 15.4


@given(WORDS, WORDS)
def test_lcs_is_that_of_the_table(a, b):
    assert lcs_length(a, b) == table_lcs(a, b)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=60, max_size=140), st.data())
def test_lcs_of_more_words_than_a_machine_word_has_bits(a, data):
    b = data.draw(st.permutations(a))
    assert lcs_length(a, b) == table_lcs(a, b)


@given(st.text(alphabet="abc DE1.é\n", max_size=40), st.text(alphabet="abc DE1.é\n", max_size=40))
def test_equals_the_rouge_score_package(first, second):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=False)
    theirs = scorer.score(first, second)["rougeL"].fmeasure
    assert rouge_l(rouge_words(first), rouge_words(second)) == pytest.approx(theirs, abs=1e-9)


@given(st.lists(WORDS, max_size=14), st.sampled_from([0.3, 0.5, 0.7, 0.75, 0.95]))
def test_near_copies_are_those_of_all_pairs(texts, threshold):
    expected = [
        NearCopy(i, j, rouge_l(texts[i], texts[j]))
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if rouge_l(texts[i], texts[j]) > threshold
    ]
    assert near_copies(texts, threshold) == expected


def test_exactly_the_threshold_is_no_copy():
    # Seven of ten words in common: 2 * 7 / 20 = 0.7. Self-instruct's code rejects above 0.7 only.
    first, second = [*"abcdefg", *"hij"], [*"abcdefg", *"klm"]
    assert rouge_l(first, second) == 0.7
    assert near_copies([first, second], 0.7) == []
    assert near_copies([first, second], 0.69) == [NearCopy(0, 1, 0.7)]


def test_words_needed_is_the_least_number_above_the_threshold():
    assert words_needed(10, 10, 0.7) == 8  # 2 * 7 / 20 is 0.7, not above
    assert words_needed(4, 4, 0.7) == 3  # 2 * 3 / 8 = 0.75


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, 2.0])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(ValueError, match="threshold"):
        near_copies([["a"]], threshold)


@given(st.lists(WORDS, max_size=10), st.lists(WORDS, max_size=10), st.sampled_from([0.3, 0.7, 0.75]))
def test_near_copies_between_lists_are_those_of_all_pairs(first, second, threshold):
    expected = [
        NearCopy(i, j, rouge_l(a, b))
        for i, a in enumerate(first)
        for j, b in enumerate(second)
        if rouge_l(a, b) > threshold
    ]
    assert near_copies_between(first, second, threshold) == expected


@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=12), st.sampled_from([0.3, 0.7, 0.95]))
def test_a_growing_index_finds_what_all_pairs_find(seeds, more, threshold):
    """Asked about every text before it is taken in, words that no text had before included."""
    index = NearIndex(seeds, threshold)
    texts = list(seeds)
    for words in more:
        expected = [(i, rouge_l(words, text)) for i, text in enumerate(texts) if rouge_l(words, text) > threshold]
        assert [tuple(near) for near in index.find(words)] == expected
        assert index.add(words) == len(texts)
        texts.append(words)


def test_an_index_orders_its_words_anew_as_it_grows():
    """300 texts from a few seeds: beyond twice the first 64, where the order is made anew, nothing is missed."""
    rng = np.random.default_rng(0)
    texts = [[f"w{n}" for n in rng.zipf(1.3, size=12) % 12] for _ in range(300)]
    index, found = NearIndex(texts[:3], 0.6), []
    for place, words in enumerate(texts[3:], 3):
        found += [(near.place, place) for near in index.find(words)]
        index.add(words)
    expected = [(i, j) for i, j, _ in near_copies(texts, 0.6) if j >= 3]
    assert len(expected) > 50
    assert sorted(found) == expected


@given(st.lists(WORDS, max_size=8), WORDS, st.integers(1, 4))
def test_the_most_similar_are_those_of_all_pairs(texts, words, number):
    """Half of the texts are there from the start; none that has no word in common is told."""
    index = NearIndex(texts[: len(texts) // 2], 0.7)
    for text in texts[len(texts) // 2 :]:
        index.add(text)
    scores = sorted((-rouge_l(words, text), i) for i, text in enumerate(texts) if rouge_l(words, text))
    assert [(-near.score, near.place) for near in index.most_similar(words, number)] == scores[:number]


def test_an_index_refuses_a_threshold_that_is_no_share():
    with pytest.raises(ValueError, match="threshold 1: a share"):
        NearIndex(threshold=1)
