"""PIQA (Bisk et al. 2020, arXiv:1911.11641): which of two ways reaches a goal."""

from __future__ import annotations

from camelid.evaluate.tasks.queries import ask_after, read_queries
from camelid.evaluate.tasks.scorers import score_choices
from camelid.evaluate.tasks.task import Task, share

TASK = Task(
    name="piqa",
    about="physical common sense, two ways to a goal",
    source="piqa.jsonl",
    read=read_queries,
    ask=ask_after(lambda query: query.rstrip("\n") + "\nAnswer:"),
    score=score_choices,
    measures=(share("acc"), share("acc_norm")),
    headline="acc_norm",
)
