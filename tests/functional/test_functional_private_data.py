"""Personal data and secrets: check digits by hand, what is found, what only looks like it."""

from __future__ import annotations

import json
import time

import pytest

from camelid.functional.private_data import find, iban_checks, luhn, redacted
from real_data import DATA, needs_data

# Keys are put together here, so that no scanner of this file takes them for real ones.
KEYS = (
    "sk-" + "a1B2c3D4e5F6g7H8i9J0k1L2",
    "AKIA" + "Q3EGWZKPLM4N7TXY",
    "ghp_" + "0a1b2c3d4e5f6g7h8i9j" * 2,
    "AIza" + "SyD4x8Kp2Lm9Qr7Vt1Wz3Yb5Nc6Fg0Hj-aB",
    "xoxb" + "-123456789012-abcDEFghiJKL",
)
SORT = "RSA " + "PRIVATE KEY-----"
PEM = f"-----BEGIN {SORT}\n" + "MIIEpAIBAAKCAQEA7yn3bRHQ5FHMQ" * 4 + f"\n-----END {SORT}"


def kinds(text: str) -> list[str]:
    return [finding.kind for finding in find(text)]


def test_check_digits_by_hand():
    # From the right 3 7 9 7 9 7, together 42, and between them 1 8 3 2 9 doubled: 2 + 7 + 6 + 4 + 9 = 28; 70 in all.
    assert luhn("79927398713") and not luhn("79927398710")
    # GB82 WEST ...: the registry's own example; one digit changed is wrong.
    assert iban_checks("GB82WEST12345698765432") and not iban_checks("GB82WEST12345698765433")


@pytest.mark.parametrize("key", KEYS)
def test_keys(key):
    assert kinds(f"token = '{key}'") == ["API key"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to jane.carter@gmail.com, please.", ["e-mail address"]),
        ("Write to jane@example.com or root@localhost.", []),
        ("Send it to user@mail.example.", []),
        ("Pay to DE89 3704 0044 0532 0130 00 AND thank me.", ["IBAN"]),
        ("Pay to DE89370400440532013001.", []),  # the last digit is wrong
        ("NL91ABNA0417164300", ["IBAN"]),
        ("Card 4111 1111 1111 1111!", []),  # nearly one digit: everybody's example
        ("Card 4539 1488 0343 6467.", ["card number"]),
        ("Card 4539 1488 0343 6468.", []),
        ("1234567890123456789", []),
        ("Call +44 20 7946 0958 now", ["telephone number"]),
        ("Call (212) 684-4700.", ["telephone number"]),
        ("Call 212-555-4700, or 1-800-362-0101.", []),
        ("The sum of 100 200 3000 is 3300; on 2024-11-24 it was 555.", []),
        ("3.14159265358979323846", []),
        (PEM, ["private key"]),
        (f"-----BEGIN {SORT}\n...\n", []),  # a tutorial's place for one
        ("AKIA" + "IOSFODNN7EXAMPLE", []),
        ("sk-" + "x" * 40, []),
    ],
)
def test_what_is_found_and_what_only_looks_like_it(text, expected):
    assert kinds(text) == expected


def test_findings_are_replaced_where_they_stand():
    text = f"I am jane.carter@gmail.com, call +44 20 7946 0958.\n{PEM}\nBye."
    found = find(text)
    assert [text[f.start : f.end] for f in found] == ["jane.carter@gmail.com", "+44 20 7946 0958", PEM]
    assert redacted(text, found) == "I am [e-mail address], call [telephone number].\n[private key]\nBye."
    assert find(text, ["private key"]) == [found[2]]
    with pytest.raises(ValueError, match="no kind 'passport'"):
        find(text, ["passport"])


def test_long_texts_take_time_in_their_length():
    for text in ("a" * 200_000, "1 " * 100_000, "+1" * 100_000, "a.b-" * 50_000 + "@", "-----BEGIN " * 20_000):
        started = time.perf_counter()
        find(text)
        assert time.perf_counter() - started < 5


@needs_data
def test_real_answers_hold_what_was_looked_up_in_them_by_hand():
    rows = json.loads((DATA / "conversations/alpaca_random_9k.json").read_text())
    found = [(f.kind, row["output"][f.start : f.end]) for row in rows for f in find(row["output"])]
    assert ("telephone number", "(212) 684-4700") in found and ("e-mail address", "example@gmail.com") in found
    assert len(found) < 10  # of 9,229 answers
