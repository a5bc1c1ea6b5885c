"""COPA (Roemmele, Bejan and Gordon 2011): the likelier of two clauses after "because" or "therefore"."""

from __future__ import annotations

from camelid.evaluate.tasks.queries import ask_after, read_queries
from camelid.evaluate.tasks.scorers import score_choices
from camelid.evaluate.tasks.task import Task, share

TASK = Task(
    name="copa",
    about="which of two clauses is cause or effect",
    source="copa.jsonl",
    read=read_queries,
    ask=ask_after(lambda query: query),
    score=score_choices,
    measures=(share("acc"),),
    headline="acc",
)
