"""Root verbs and their nouns, by rule."""

import pytest

from camelid.functional.root_verbs import verb_and_noun


@pytest.mark.parametrize(
    ("instruction", "found"),
    [
        ("Write a short poem about the sea.", ("write", "poem")),
        ("Please generate a list of ten fruits", ("generate", "list")),
        ("1. Give me three tips for staying healthy", ("give", "tips")),
        ("Come up with tasks", ("come", "")),
        ("Create a 3 line rhyme", ("create", "")),
        ("Summarize: the following", ("summarize", "")),
        ("Classify the sentence into two groups", ("classify", "sentence")),
        ("What is the capital of France?", None),
        ("The sky is blue", None),
        ("", None),
        ("«»", None),
    ],
)
def test_the_verb_and_its_noun(instruction, found):
    assert verb_and_noun(instruction) == found
