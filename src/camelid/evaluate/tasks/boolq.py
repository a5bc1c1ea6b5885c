"""BoolQ (Clark et al. 2019, arXiv:1905.10044): yes or no after a passage.

Asked as in the lm-evaluation-harness, without the word "Passage" that the file has in front.
"""

from __future__ import annotations

from camelid.evaluate.tasks.queries import ask_after, read_queries
from camelid.evaluate.tasks.scorers import score_choices
from camelid.evaluate.tasks.task import Task, share

TASK = Task(
    name="boolq",
    about="a passage, and a question to answer by yes or no",
    source="boolq.jsonl",
    read=read_queries,
    ask=ask_after(lambda query: query.removeprefix("Passage: ") + "\nAnswer:"),
    score=score_choices,
    measures=(share("acc"),),
    headline="acc",
)
