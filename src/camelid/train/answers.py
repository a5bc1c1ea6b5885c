"""Answers that are each good or bad, as KTO trains on them: read from files, mismatched with other prompts, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from camelid.models.batch import Row
from camelid.models.chat import ChatFormat
from camelid.models.too_long import Lengths
from camelid.train.common import input_files
from camelid.train.pairs import completion_row, completion_rows
from camelid.types import Conversation, Messages, Preference, read_records


class Answer(NamedTuple):
    """One answer, and whether it is a good one."""

    prompt: Messages
    text: str
    desirable: bool
    name: str
    """For errors."""


def read_answers(inputs: Mapping[str, Any], preferences: Sequence[Preference]) -> list[Answer]:
    """Chosen answers of the preferences, rejected ones, then the conversations of `desirable` and `undesirable`.

    Kinds are not mixed: the next answer, with which `mismatch` takes a prompt, is then mostly of the same kind, and
    every answer is taken about once. Raises ValueError unless there are some of both kinds.
    """
    answers = [
        Answer(p.prompt, p.chosen if good else p.rejected, good, f"preference {p.id} ({p.source})")
        for good in (True, False)
        for p in preferences
    ]
    for kind in ("desirable", "undesirable"):
        files = input_files(inputs[kind]) if kind in inputs else ()
        answers += [
            Answer(c.messages[:-1], c.messages[-1].content, kind == "desirable", f"conversation {c.id} ({c.source})")
            for file in files
            for c in read_records(file, Conversation)
        ]
    check_both_kinds(answers)
    return answers


def check_both_kinds(answers: Sequence[Answer]) -> None:
    """Raises ValueError unless there are some of both."""
    good = sum(answer.desirable for answer in answers)
    if not 0 < good < len(answers):
        raise ValueError(
            f"{good} desirable and {len(answers) - good} undesirable answers: KTO wants some of both; give "
            "`preferences`, or `desirable` and `undesirable` (files of conversations)"
        )


def mismatch(answers: Sequence[Answer]) -> list[Answer]:
    """Each prompt with the next answer that was given to another one. Raises ValueError where all prompts are one."""
    found = []
    for i, answer in enumerate(answers):
        others = (answers[(i + step) % len(answers)] for step in range(1, len(answers)))
        other = next((other for other in others if other.prompt != answer.prompt), None)
        if other is None:
            raise ValueError("all answers are to one prompt; KTO's reference point wants answers to others")
        found.append(Answer(answer.prompt, other.text, other.desirable, f"{answer.name} with another's answer"))
    return found


def answer_rows(chat: ChatFormat, answers: Sequence[Answer], lengths: Lengths) -> list[tuple[Answer, Row]]:
    """Answers that `lengths` lets through, with what it leaves of their prompts, and their rows."""
    made = [(answer, completion_rows(chat, answer.prompt, [answer.text], answer.name, lengths)) for answer in answers]
    return [(answer._replace(prompt=found[0]), found[1][0]) for answer, found in made if found]


def mismatched_rows(chat: ChatFormat, answers: Sequence[Answer], max_tokens: int) -> list[Row]:
    """Each prompt with another's answer. Its end is cut off where it is too long: these rows train nothing."""
    return [completion_row(chat, answer.prompt, answer.text, max_tokens) for answer in mismatch(answers)]
