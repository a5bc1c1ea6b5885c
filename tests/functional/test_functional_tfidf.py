"""The bag-of-words preference model: it learns which words are preferred; cross-validated, it sees no prompt twice."""

import numpy as np
import pytest

from camelid.functional import tfidf
from camelid.functional.tfidf import cross_validated_tfidf_wins, tfidf_wins

FILLER = ["the", "a", "of", "and", "to", "in", "is", "it", "on", "at"]


def made_up_pairs(number: int, seed: int = 0) -> list[tuple[str, str]]:
    """Chosen answers say "thanks", rejected ones "sorry", among random words."""
    generator = np.random.default_rng(seed)

    def text(word: str) -> str:
        return " ".join([*generator.choice(FILLER, 6), word, *generator.choice(FILLER, 3)])

    return [(text("thanks"), text("sorry")) for _ in range(number)]


def test_learns_the_preferred_word():
    assert np.mean(tfidf_wins(made_up_pairs(40), made_up_pairs(50, seed=1))) == 1.0
    assert np.mean(tfidf_wins(made_up_pairs(40), [(b, a) for a, b in made_up_pairs(50, seed=1)])) == 0.0


def test_texts_that_it_cannot_tell_apart_tie():
    assert tfidf_wins(made_up_pairs(40), [("unseen words", "other ones"), ("", "")]) == [0.5, 0.5]


def test_cross_validation_never_sees_the_pair_of_a_prompt():
    # The preferred word differs from prompt to prompt: what other prompts teach says nothing of one's own.
    pairs = [(f"only{i} yes{i}", f"only{i} no{i}") for i in range(30) for _ in range(3)]
    prompts = [str(i) for i in range(30) for _ in range(3)]
    assert np.mean(cross_validated_tfidf_wins(pairs, prompts)) == 0.5
    leaky = [str(i) for i in range(90)]  # every pair a prompt of its own: its twins are in the training folds
    assert np.mean(cross_validated_tfidf_wins(pairs, leaky)) > 0.7


def test_results_are_in_the_order_of_the_pairs():
    turned = [("sorry", "thanks") if i % 4 == 0 else ("thanks", "sorry") for i in range(60)]  # a quarter wrong
    won = cross_validated_tfidf_wins(turned, [str(i) for i in range(60)])
    assert won == [0.0 if i % 4 == 0 else 1.0 for i in range(60)]


def test_more_pairs_than_it_takes_are_thinned_and_blocks_change_nothing(monkeypatch):
    expected = tfidf_wins(made_up_pairs(40), made_up_pairs(25, seed=1))
    monkeypatch.setattr(tfidf, "BLOCK", 7)
    assert tfidf_wins(made_up_pairs(40), made_up_pairs(25, seed=1)) == expected
    monkeypatch.setattr(tfidf, "MAX_PAIRS", 20)
    assert np.mean(tfidf_wins(made_up_pairs(40), made_up_pairs(25, seed=1))) == 1.0


def test_one_prompt_leaves_nothing_to_learn_from():
    with pytest.raises(ValueError, match="one prompt"):
        cross_validated_tfidf_wins(made_up_pairs(5), ["same"] * 5)
