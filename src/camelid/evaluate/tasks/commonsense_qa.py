"""CommonsenseQA (Talmor et al. 2019, arXiv:1811.00937): the letter of the right choice.

The file at hand shows four of the five choices, so chance is 25% and scores are above published ones.
"""

from __future__ import annotations

from camelid.evaluate.tasks.queries import ask_after, read_queries
from camelid.evaluate.tasks.scorers import score_choices
from camelid.evaluate.tasks.task import Task, share

TASK = Task(
    name="commonsense_qa",
    about="common sense, lettered choices",
    source="commonsense_qa.jsonl",
    read=read_queries,
    ask=ask_after(lambda query: query),
    score=score_choices,
    measures=(share("acc"),),
    headline="acc",
)
