"""OpenBookQA (Mihaylov et al. 2018, arXiv:1809.02789), without the book: the likeliest completion of the question."""

from __future__ import annotations

from camelid.evaluate.tasks.queries import ask_after, read_queries
from camelid.evaluate.tasks.scorers import score_choices
from camelid.evaluate.tasks.task import Task, share

TASK = Task(
    name="openbookqa",
    about="elementary science, a sentence to complete",
    source="openbook_qa.jsonl",
    read=read_queries,
    ask=ask_after(lambda query: query),
    score=score_choices,
    measures=(share("acc"), share("acc_norm")),
    headline="acc_norm",
)
