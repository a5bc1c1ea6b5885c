"""Personal data and secrets in texts: patterns, and check digits where there are any.

An IBAN's remainder by 97 is 1 once its first four characters stand last, letters as 10 to 35 (ISO 13616, ISO 7064); a
payment card's digits, every second from the right doubled and 9 taken off what exceeds 9, sum to a multiple of 10 (Luhn
1960; ISO/IEC 7812). Without them a string of digits is no finding. What belongs to nobody is none: addresses reserved
for examples (RFC 2606), North American numbers with 555 and toll-free ones, keys that say EXAMPLE or are one character
over and over.

Left out: names, postal addresses, dates of birth (which no pattern tells from fiction), telephone numbers without a
country's code that are not written as in North America, passwords.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple


class Finding(NamedTuple):
    """What stands in text[start:end]."""

    kind: str
    start: int
    end: int


IBAN_LENGTHS = {
    **{"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28},
    **{"CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18},
    **{"FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22},
    **{"IL": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20, "LV": 21},
    **{"MC": 27, "MD": 24, "ME": 22, "MK": 19, "MT": 31, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PT": 25, "QA": 29},
    **{"RO": 24, "RS": 22, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "XK": 20},
}
"""Characters of an IBAN by its country."""

PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY-----\s*(?:[\w-]+: [^\n]*\n\s*)*[A-Za-z0-9+/=]{40}"
    r"(?:[A-Za-z0-9+/=\s]*(?:-----END (?:[A-Z]+ ){0,3}PRIVATE KEY-----)?)"
)
API_KEY = re.compile(
    r"(?<![\w-])(?:sk-[A-Za-z0-9_-]{20,}|[sr]k_live_[A-Za-z0-9]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}"
    r"|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{35}"
    r"|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})(?![\w-])"
)
IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?= ?[A-Z0-9])")
CARD = re.compile(r"(?<![\d.,-])(?:[0-9][ -]?){12,18}[0-9](?![\d-]|[.,]\d)")
EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}(?![\w-])")
RESERVED = re.compile(r"(?:^|\.)(?:example(?:\.[a-z]+)?|test|invalid|localhost)$", re.IGNORECASE)
PHONE_ABROAD = re.compile(r"(?<![\w+])\+[1-9][0-9 ().-]{6,20}[0-9](?![\w-])")
PHONE_NORTH_AMERICA = re.compile(
    r"(?<![\w.+-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}(?![\w-])"
)
CARD_PREFIX = re.compile(r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7]|6[05])\d{14}|3[47]\d{13}")
"""Visa; Mastercard, Discover; American Express."""


def find(text: str, kinds: Collection[str] = ()) -> list[Finding]:
    """All findings of these kinds (none: of every kind), in order of place; none overlaps another."""
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise ValueError(f"no kind {sorted(unknown)[0]!r} of private data; there are {', '.join(KINDS)}")
    found: list[Finding] = []
    for kind, spans in KINDS.items():
        if not kinds or kind in kinds:
            for start, end in spans(text):
                if all(end <= other.start or start >= other.end for other in found):
                    found.append(Finding(kind, start, end))
    return sorted(found, key=lambda finding: finding.start)


def redacted(text: str, found: Sequence[Finding]) -> str:
    """The text with each finding replaced by its kind in brackets."""
    for finding in sorted(found, key=lambda f: -f.start):
        text = f"{text[: finding.start]}[{finding.kind}]{text[finding.end :]}"
    return text


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others."""
    values = [int(digit) for digit in reversed(digits)]
    doubled = [2 * value - 9 if value > 4 else 2 * value for value in values[1::2]]
    return (sum(values[::2]) + sum(doubled)) % 10 == 0


def iban_checks(iban: str) -> bool:
    """Whether the two check digits are right; upper case, without spaces."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


Spans = Iterator[tuple[int, int]]


def _private_keys(text: str) -> Spans:
    return (match.span() for match in PRIVATE_KEY.finditer(text))


def _api_keys(text: str) -> Spans:
    for match in API_KEY.finditer(text):
        if "EXAMPLE" not in match[0].upper() and len(set(match[0][4:])) > 6:
            yield match.span()


def _ibans(text: str) -> Spans:
    for match in IBAN_START.finditer(text):
        wanted = IBAN_LENGTHS.get(match[0][:2], 0)
        end, compact = match.start(), ""
        while len(compact) < wanted and end < len(text):
            character = text[end]
            if character == " " and compact and text[end - 1] != " ":
                end += 1
            elif character.isascii() and (character.isdigit() or character.isupper()):
                compact += character
                end += 1
            else:
                break
        whole = end == len(text) or not text[end].isalnum()
        if wanted and len(compact) == wanted and whole and iban_checks(compact):
            yield match.start(), end


def _cards(text: str) -> Spans:
    for match in CARD.finditer(text):
        digits = re.sub(r"[ -]", "", match[0])
        if CARD_PREFIX.fullmatch(digits) and len(set(digits)) > 2 and luhn(digits):
            yield match.span()


def _emails(text: str) -> Spans:
    for match in EMAIL.finditer(text):
        if not RESERVED.search(match[0].partition("@")[2]):
            yield match.span()


def _phones(text: str) -> Spans:
    for pattern in (PHONE_ABROAD, PHONE_NORTH_AMERICA):
        for match in pattern.finditer(text):
            digits = re.sub(r"\D", "", match[0])
            area = digits[-10:-7]
            nobody = "555" in (area, digits[-7:-4]) or (area in TOLL_FREE and digits[:-10] in ("", "1"))
            if 8 <= len(digits) <= 15 and not nobody:
                yield match.span()


TOLL_FREE = frozenset(("800", "822", "833", "844", "855", "866", "877", "888"))
KINDS: dict[str, Callable[[str], Spans]] = {
    "private key": _private_keys,
    "API key": _api_keys,
    "IBAN": _ibans,
    "card number": _cards,
    "e-mail address": _emails,
    "telephone number": _phones,
}
"""By name, in the order in which they are looked for: an IBAN's digits are no card number."""
