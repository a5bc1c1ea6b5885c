"""Self-instruct's and Alpaca's filters of instructions: what a model that reads and writes text cannot do.

Source: Wang et al. 2023 (arXiv:2212.10560, section 2.2) and the code of yizhongw/self-instruct and
tatsu-lab/stanford_alpaca, which say more than the paper. Left out: novelty against other instructions, for
which see `near_copies.py`.

    reason = unfit("Draw a map of Europe.")    # "blacklist: map"
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

FEWEST_WORDS, MOST_WORDS = 4, 150

SELF_INSTRUCT_WORDS = (
    *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps"),
    *("draw", "plot", "go to"),
)
ALPACA_WORDS = (*SELF_INSTRUCT_WORDS, "video", "audio", "music", "flowchart", "diagram")
"""Words that ask for what text cannot carry; matched whole, in any case."""

RuleSet = Literal["self-instruct", "alpaca"]
BLACKLISTS: dict[str, re.Pattern[str]] = {
    name: re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)
    for name, words in (("self-instruct", SELF_INSTRUCT_WORDS), ("alpaca", ALPACA_WORDS))
}


def unfit(instruction: str, rules: RuleSet = "self-instruct") -> str:
    """Why an instruction is filtered, as `reason: detail`; empty where it is kept. The first rule that hits speaks."""
    if rules not in BLACKLISTS:
        raise ValueError(f"unknown rules {rules!r}; there are {', '.join(BLACKLISTS)}")
    return next((reason for rule in RULES if (reason := rule(instruction, rules))), "")


def count_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """How many instructions each reason filtered, most frequent first; those kept are in none."""
    return dict(Counter(reason.partition(":")[0] for reason in reasons if reason).most_common())


def _length(instruction: str, rules: str) -> str:
    words = len(instruction.split())
    if words < FEWEST_WORDS:
        return f"too short: {words} words"
    return f"too long: {words} words" if words > MOST_WORDS else ""


def _blacklisted(instruction: str, rules: str) -> str:
    hit = BLACKLISTS[rules].search(instruction)
    return f"blacklist: {hit[0].lower()}" if hit else ""


def _asks_for_a_program(instruction: str, rules: str) -> str:
    """Self-instruct found such requests ambiguous: a program in which language, and to be written or to be run."""
    return "asks for a program" if instruction.startswith("Write a program") else ""


def _first_character(instruction: str, rules: str) -> str:
    if instruction[0] in string.punctuation:
        return f"starts with punctuation: {instruction[0]!r}"
    return "" if instruction[0].isascii() else f"starts with a character outside ASCII: {instruction[0]!r}"


RULES: tuple[Callable[[str, str], str], ...] = (_length, _blacklisted, _asks_for_a_program, _first_character)
"""In self-instruct's order. The last may read a first character: what is too short to have one is out by then."""
