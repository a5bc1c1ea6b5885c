"""The number that an answer in words ends with: behind GSM8K's mark, or simply the last one.

The two ways of looking have the names that the lm-evaluation-harness gives them (`tasks/gsm8k/gsm8k.yaml`): strict
match and flexible extract. We depart from it in comparing numbers, not strings: 18, 18.00 and $18 are equal.
"""

from __future__ import annotations

import re
from decimal import Decimal

# A minus sign belongs to the number unless something stands before it that it would be taken from, as in "16-3".
NUMBER = re.compile(r"(?:(?<![\w.)%])[-−])?\$?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\d.])\.\d+")
MARKED = re.compile(r"####\s*(" + NUMBER.pattern + ")")


def marked_number(text: str) -> Decimal | None:
    """The number behind the first "####", as GSM8K closes its solutions (Cobbe et al. 2021, arXiv:2110.14168)."""
    found = MARKED.search(text)
    return as_number(found[1]) if found else None


def last_number(text: str) -> Decimal | None:
    """The last number of the text; None where it has none."""
    found = NUMBER.findall(text)
    return as_number(found[-1]) if found else None


def as_number(text: str) -> Decimal:
    """Without dollar signs and the commas between thousands."""
    return Decimal(re.sub(r"[$,]", "", text).replace("−", "-"))
