"""Which answers and instructions fail the rules of evolution."""

from __future__ import annotations

import pytest

from camelid.functional.evolved import copies, declines, says_nothing


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("I'm sorry, but I can't do that.", "sorry in 9 words"),  # I m sorry but I can t do that
        ("SORRY!", "sorry in 1 words"),
        ("A sorry sight. " + "word " * 77, ""),  # 80 words
        ("A sorry sight. " + "word " * 76, "sorry in 79 words"),
        ("Sorrow is long.", ""),
        ("", ""),
    ],
)
def test_sorry_and_short(answer, why):
    assert declines(answer) == why


@pytest.mark.parametrize(
    ("answer", "nothing"),
    [("", True), ("...!?", True), ("It is what it is.", True), ("Don't, we'll!", True), ("Yes.", False), ("4", False)],
)
def test_answers_of_stop_words(answer, nothing):
    assert bool(says_nothing(answer)) == nothing


@pytest.mark.parametrize(
    ("evolved", "before", "hit"),
    [
        ("The #Harder task#: count to ten.", "Count.", "copies the prompt: 'harder task'"),
        ("Is a harder\ntask better?", "Count.", "copies the prompt: 'harder task'"),
        ("What makes a harder task, by kind?", "Which is the harder task?", ""),
        ("Name harder tasks.", "Count.", ""),
        ("From the old task make a harder task.", "Change the harder task.", "copies the prompt: 'old task'"),
    ],
)
def test_phrases_of_the_prompt(evolved, before, hit):
    assert copies(evolved, before, ("harder task", "old task")) == hit
