"""HellaSwag (Zellers et al. 2019, arXiv:1905.07830): the likeliest ending; 10 shots as on the Open LLM Leaderboard.

The file at hand has 800 items, none of them from WikiHow, and lacks the label of the activity that the
lm-evaluation-harness puts in front; scores are not comparable with published ones to the point.
"""

from __future__ import annotations

import re
from typing import Any

from camelid.evaluate.tasks.queries import choice_question
from camelid.evaluate.tasks.reading import check_gold, json_lines
from camelid.evaluate.tasks.scorers import score_choices
from camelid.evaluate.tasks.task import Question, Task, share


def clean(text: str) -> str:
    """Without the bracketed marks of WikiHow: a title's becomes a full stop, others go with what is inside."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def capitalised(text: str) -> str:
    """The file has the start of the sentence to be completed in lower case, after the sentence before it."""
    return re.sub(r"([.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def ask(number: int, row: Any) -> Question:
    choices = [clean(choice) for choice in row["original_choices"]]
    gold = check_gold(row["original_label"], len(choices), f"item {number}")
    context = capitalised(clean(row["original_context"]))
    return choice_question(str(number), context, [f" {choice}" for choice in choices], gold)


TASK = Task(
    name="hellaswag",
    about="what happens next, four endings",
    source="hellaswag_800.jsonl",
    read=json_lines("original_context", "original_choices", "original_label"),
    ask=ask,
    score=score_choices,
    measures=(share("acc"), share("acc_norm")),
    headline="acc_norm",
    shots=10,
)
