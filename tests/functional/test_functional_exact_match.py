"""SQuAD's exact match."""

import pytest

from camelid.functional.exact_match import matches_any, normalise


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The  Cat's hat.", "cats hat"),  # case, article, apostrophe and full stop, two spaces
        ("an A to the Z", "to z"),
        ("co-operate", "cooperate"),  # punctuation leaves no space
        ("Theatre", "theatre"),  # no article inside a word
        ("a-the", "athe"),  # punctuation goes first, so no article is left to take
        ("The.", ""),
    ],
)
def test_case_punctuation_articles_and_spaces_do_not_count(text, normalised):
    assert normalise(text) == normalised


def test_any_of_the_right_answers_will_do():
    right = ["14 December 1972 UTC", "December 1972"]
    assert matches_any(" december, 1972.", right)
    assert not matches_any("in December 1972", right)
    assert not matches_any("1972", right)


def test_nothing_is_never_right():
    # "The" normalises to nothing, and so does an empty answer: they must not meet there.
    assert not matches_any("", ["The", "Who"])
    assert not matches_any("the a", ["The"])
    assert not matches_any("", [""])
    assert matches_any(" + ", ["+"])
    assert not matches_any("-", ["+"])
