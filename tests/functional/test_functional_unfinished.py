"""Answers that look cut off, and those that only end without a mark."""

from __future__ import annotations

import pytest

from camelid.functional.unfinished import unfinished

GOING_ON = "The river rises in the hills behind the town and flows past some mills and two old bridges towards a wide"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Here it is:\n```python\nprint(1)", "a code block is open"),
        ("Apples, pears,", "ends with ','"),
        ("He opened it (", "ends with '('"),
        ("It was the end of the", "ends with 'the'"),
        (GOING_ON + " green", "22 words without an end"),
    ],
)
def test_what_looks_cut_off(text, why):
    assert unfinished(text) == why


@pytest.mark.parametrize(
    "text",
    [
        "Paris",
        "- apples\n- pears",
        "Here it is:\n```python\nprint(1)\n```",
        "He said “yes.”",
        "It is **done.**",
        "SELECT name FROM rows;",
        "Option a",  # answers of a few words may end with any
        GOING_ON + " sea.",
        GOING_ON + " sea #rivers #walks",
        "答案是巴黎。",
        "",
    ],
)
def test_what_ends(text):
    assert unfinished(text) == ""
