"""One conversation of ShareGPT cleaned by Vicuna's rules, or the reason why it is not taken.

The rules and their order are those of FastChat's `clean_sharegpt.py`: the first that objects speaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from camelid.collect.drafts import Unfit, entries, text
from camelid.collect.sharegpt.markup import Html, is_html, to_markdown, without_the_page
from camelid.types import Message, Role

ROLES: tuple[tuple[str, Role], ...] = (("human", "user"), ("gpt", "assistant"))
BLOCKED_ANSWERS = ("Too many requests in 1 hour", "!Too many requests in 1 hour")
"""How the site, not the model, answers."""
FEWEST_CHARACTERS = 16


class Turn(NamedTuple):
    """An entry of the list `conversations`."""

    role: str
    text: str


@dataclass(frozen=True)
class Cleaned:
    """What is left of a conversation, and what was done to it."""

    turns: tuple[Message, ...]
    changes: tuple[str, ...]


def clean(row: dict[str, Any], blocked_words: Sequence[str], html: Html) -> Cleaned:
    """The conversation's turns, user and assistant in turn. Raises Unfit, as `category: detail`."""
    turns = [_turn(entry, i) for i, entry in enumerate(entries(row.get("conversations"), "conversations"), 1)]
    turns, changes = _trimmed(turns)
    convert = html == "always" or (html == "auto" and is_html([t.text for t in turns if t.role == "gpt"]))
    if convert:
        changes.append("html converted")
    kept: list[Message] = []
    for number, (turn, (expected, role)) in enumerate(zip(turns, ROLES * len(turns), strict=False), 1):
        _check(turn, number, expected, blocked_words)
        content = without_the_page(to_markdown(turn.text) if convert else turn.text)
        if turn.role == "gpt" and content.startswith(BLOCKED_ANSWERS):
            raise Unfit(f"blocked words: turn {number} is the site's, {content[:40]!r}")
        if not content or not content[0].isprintable():
            changes.append("cut at an empty turn")
            break
        kept.append(Message(role=role, content=content))
    kept = kept[: len(kept) // 2 * 2]
    if sum(len(message.content) for message in kept) < FEWEST_CHARACTERS:
        raise Unfit(f"too short: fewer than {FEWEST_CHARACTERS} characters are left")
    return Cleaned(tuple(kept), tuple(changes))


def _turn(entry: dict[str, Any], number: int) -> Turn:
    return Turn(text(entry.get("from"), f"entry {number}, from"), text(entry.get("value"), f"entry {number}, value"))


def _trimmed(turns: list[Turn]) -> tuple[list[Turn], list[str]]:
    """Without one turn before the first human one and one human turn at the end."""
    changes = []
    _check_number(turns)
    if turns[0].role != "human":
        turns, changes = turns[1:], ["leading turn dropped"]
        _check_number(turns)
    if turns[-1].role == "human":
        turns, changes = turns[:-1], [*changes, "trailing turn dropped"]
        _check_number(turns)
    return turns, changes


def _check_number(turns: Sequence[Turn]) -> None:
    if len(turns) <= 1:
        raise Unfit("too short: fewer than two turns")


def _check(turn: Turn, number: int, expected: str, blocked_words: Sequence[str]) -> None:
    if turn.role != expected:
        raise Unfit(f"wrong format: turn {number} is by {turn.role!r} where {expected!r} was due")
    lower = turn.text.lower()
    word = next((word for word in blocked_words if word in lower), "")
    if word:
        raise Unfit(f"blocked words: {word!r} in turn {number}")
