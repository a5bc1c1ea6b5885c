"""What an answer's words tell of a demand, and lists that a model wrote."""

import pytest

from camelid.functional.attributes import ends_with_word, mentions_word
from camelid.functional.listed import listed_items


@pytest.mark.parametrize(
    ("text", "ends", "mentions"),
    [
        ("It is so. Amber", True, True),
        ("It is so, AMBER!!!  \n", True, True),
        ('"amber".', True, True),
        ("Amber it is.", False, True),
        ("It is an amber-coloured stone.", False, True),
        ("ambers and chamber", False, False),
        ("", False, False),
        ("...", False, False),
    ],
)
def test_words_that_end_an_answer_or_stand_in_it(text, ends, mentions):
    assert ends_with_word(text, "amber") is ends
    assert mentions_word(text, "Amber") is mentions


@pytest.mark.parametrize("word", ["", "two words", "!"])
def test_what_is_no_word_cannot_be_kept(word):
    with pytest.raises(ValueError, match=r"is \d words; give one"):
        ends_with_word("anything", word)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (
            "Sure! Here are some:\n1. Tennis\n2) Chess: a game\n3. tennis\n10. Rock climbing",
            "Tennis|Chess|Rock climbing",
        ),
        ("- **Napoleon** (1769-1821)\n* Marie Curie - a scientist\n\u2022 Galileo.", "Napoleon|Marie Curie|Galileo"),
        ("Sailing\nYoga\n\nI hope that this list of hobbies is of use to you", "Sailing|Yoga"),
        ("1.\n2. !!\n", ""),
        ("", ""),
    ],
)
def test_a_written_list_has_its_items_once(text, items):
    assert "|".join(listed_items(text)) == items
