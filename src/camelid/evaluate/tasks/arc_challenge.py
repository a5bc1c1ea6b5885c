"""ARC-Challenge (Clark et al. 2018, arXiv:1803.05457), 25 shots as on the Open LLM Leaderboard of 2023."""

from __future__ import annotations

from camelid.evaluate.tasks.queries import ask_after, read_queries
from camelid.evaluate.tasks.scorers import score_choices
from camelid.evaluate.tasks.task import Task, share

TASK = Task(
    name="arc_challenge",
    about="school science, the harder questions",
    source="arc_challenge.jsonl",
    read=read_queries,
    ask=ask_after(lambda query: query + "\nAnswer:"),
    score=score_choices,
    measures=(share("acc"), share("acc_norm")),
    headline="acc_norm",
    shots=25,
)
