"""ARC-Easy (Clark et al. 2018, arXiv:1803.05457): the text of the right answer after the question."""

from __future__ import annotations

from camelid.evaluate.tasks.queries import ask_after, read_queries
from camelid.evaluate.tasks.scorers import score_choices
from camelid.evaluate.tasks.task import Task, share

TASK = Task(
    name="arc_easy",
    about="school science, the easier questions",
    source="arc_easy.jsonl",
    read=read_queries,
    ask=ask_after(lambda query: query + "\nAnswer:"),
    score=score_choices,
    measures=(share("acc"), share("acc_norm")),
    headline="acc_norm",
)
