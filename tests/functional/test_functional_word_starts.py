"""Words by hand; tests/test_word_codec.py compares with the library's own pattern."""

from __future__ import annotations

import numpy as np

from camelid.functional.word_starts import ALONE, LETTER, NUMBER, OTHER, SPACE, word_starts


def words(text: str, alone: str = "|") -> list[str]:
    """The words of a text of which each `alone` character stands by itself."""

    def kind(character: str) -> int:
        if character in alone:
            return ALONE
        kinds = {LETTER: character.isalpha(), NUMBER: character.isnumeric(), SPACE: character.isspace()}
        return next((kind for kind, fits in kinds.items() if fits), OTHER)

    data = (text + "|").encode()
    kinds = [kind(character) for character in text + "|" for _ in character.encode()]
    starts = word_starts(np.frombuffer(data, dtype=np.uint8), np.array(kinds, dtype=np.uint8)).tolist()
    return [data[a:b].decode() for a, b in zip(starts, [*starts[1:], len(data)], strict=True)][:-1]


def test_a_blank_joins_the_word_after_it():
    assert words("a bc, 12 x") == ["a", " bc", ",", " 12", " x"]


def test_the_last_of_several_spaces_is_left_to_the_word():
    assert words("a   b") == ["a", "  ", " b"]
    assert words("a \n b") == ["a", " \n", " b"]
    assert words("a\n\nb") == ["a", "\n", "\n", "b"]  # not a blank, so it stands by itself
    assert words("a \u3000b") == ["a", " ", "\u3000", "b"]  # three bytes
    assert words("a  ") == ["a", "  "]


def test_contractions_take_their_letters():
    assert words("I'm he'll we're") == ["I", "'m", " he", "'ll", " we", "'re"]
    assert words("'sab") == ["'s", "ab"]
    assert words("x 's") == ["x", " '", "s"]  # the blank took the apostrophe first
    assert words("x''s") == ["x", "''", "s"]
    assert words("it'S l'a 'r") == ["it", "'", "S", " l", "'", "a", " '", "r"]


def test_a_character_alone_cuts_on_both_sides():
    assert words("a |b|| c ") == ["a", " ", "|", "b", "|", "|", " c", " "]
    assert words("1 23", alone="|123") == ["1", " ", "2", "3"]
    assert words("it'|s") == ["it", "'", "|", "s"]
    assert words("") == []
