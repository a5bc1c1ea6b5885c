"""The rules of `sift`: each says why a row is set aside, as `reason: detail`, and "" where it is not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import NamedTuple

from camelid.functional.diversity import repetition
from camelid.functional.private_data import find, redacted
from camelid.functional.unfinished import unfinished
from camelid.languages import language_of
from camelid.types import Conversation, Message, Messages, Prompt, Record

REFUSALS = (
    "as an AI",
    "as an AI language model",
    "as a language model",
    "as a large language model",
    "as an artificial intelligence",
    "I'm an AI",
    "I am an AI",
    "I'm just a language model",
    "my knowledge cutoff",
    "my training data",
)
"""What a chat model says of itself where it declines; an answer that teaches it teaches to decline."""
NO_ANSWER = frozenset(("n/a", "na", "nan", "null", "no output", "nooutput", "no answer", "output"))
REPEATED_WORDS = 5


class Lengths(NamedTuple):
    """Of a row, in the unit that was asked for."""

    instruction: int
    answer: int


def licence(stated: str, wanted: Collection[str]) -> str:
    if not wanted or stated in wanted:
        return ""
    return f"licence: {stated}" if stated else "licence: none stated"


def out_of_range(what: str, length: int, least: int, most: int, unit: str) -> str:
    if length < least:
        return f"{what} too short: {length} {unit}"
    return f"{what} too long: {length} {unit}" if most and length > most else ""


def empty(answers: Sequence[str]) -> str:
    for answer in answers:
        says_nothing = all(unicodedata.category(character)[0] in "PZC" for character in answer)
        if says_nothing or answer.strip(" .<>[]").casefold() in NO_ANSWER:
            return f"empty: {answer[:40]!r}"
    return ""


def stops_early(answers: Sequence[str]) -> str:
    why = next((why for answer in answers if (why := unfinished(answer))), "")
    return f"unfinished: {why}" if why else ""


def phrase_pattern(phrases: Sequence[str]) -> re.Pattern[str] | None:
    """Any of these as whole words; `I` is no part of `i.e.`."""
    for phrase in phrases:
        if not phrase.strip():
            raise ValueError("phrases: an empty phrase is in every answer; leave it out")
    words = sorted(map(re.escape, phrases), key=len, reverse=True)
    return re.compile(rf"(?<![\w.])(?:{'|'.join(words)})(?!\w|\.\w)", re.IGNORECASE) if words else None


def found_phrase(answers: Sequence[str], pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        return ""
    hit = next((hit for answer in answers if (hit := pattern.search(answer.replace("’", "'")))), None)
    return f"phrase: {hit[0].casefold()!r}" if hit else ""


def repetitive(answers: Sequence[str], most: float) -> str:
    worst = max((repetition(answer, REPEATED_WORDS) for answer in answers), default=0.0)
    return f"repetition: {100 * worst:.0f}% of five-word runs occurred before" if worst > most else ""


def language(text: str, wanted: Collection[str]) -> str:
    found = language_of(text)
    return "" if found in wanted else f"language: {found}"


def redacted_row(row: Record, kinds: Collection[str]) -> Record:
    """The row under its old id, private data replaced, tagged `redacted`."""

    def clean(messages: Messages) -> Messages:
        return tuple(Message(role=m.role, content=redacted(m.content, find(m.content, kinds))) for m in messages)

    tags = (*row.tags, "redacted")
    if isinstance(row, Conversation):
        return row.model_copy(update={"messages": clean(row.messages), "tags": tags})
    if isinstance(row, Prompt):
        return row.model_copy(update={"prompt": clean(row.prompt), "tags": tags})
    raise TypeError(f"cannot redact a {type(row).__name__}")
