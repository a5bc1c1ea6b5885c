"""The number at the end of an answer in words."""

from decimal import Decimal

import pytest

from camelid.functional.final_number import last_number, marked_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She has 3 + 4 = 7 eggs.", "7"),
        ("It costs $1,450,000.", "1450000"),
        ("That is $18.00", "18"),
        ("x = -5", "-5"),
        ("-$5", "-5"),
        ("16-3", "3"),  # taken from, not negative
        ("(8)-3", "3"),
        ("10 - 4 = 6, or 60%", "60"),
        ("1, 2, 30", "30"),
        ("10,8000", "8000"),  # no comma between thousands
        (".5 litres", "0.5"),
        ("version 1.2.3", "3"),
        ("−7 degrees", "-7"),
    ],
)
def test_the_last_number_as_people_write_it(text, number):
    assert last_number(text) == Decimal(number)


def test_without_a_number_there_is_none():
    assert last_number("no idea...") is None
    assert last_number("") is None
    assert marked_number("the answer is 5") is None
    assert marked_number("#### many") is None


def test_the_marked_number_is_the_first_behind_the_mark():
    assert marked_number("2 + 3 = 5\n#### 5\n\nand 7\n#### 8") == 5
    assert marked_number("#### $2,125.50 in 3 days") == Decimal("2125.50")
    assert marked_number("####-10") == -10


def test_equal_numbers_are_equal_however_written():
    assert last_number("18.00") == last_number("$18") == last_number("18.")
    assert last_number("0.1") == Decimal("0.1")  # exact: no binary fraction in between
