"""WinoGrande (Sakaguchi et al. 2019, arXiv:1907.10641), partial evaluation.

Both readings of the sentence are put in front of the same ending, and the one that makes the ending likelier is taken
(Trinh and Le 2018, arXiv:1806.02847).
"""

from __future__ import annotations

from typing import Any

from camelid.evaluate.tasks.reading import check_gold, json_lines
from camelid.evaluate.tasks.scorers import score_choices
from camelid.evaluate.tasks.task import Question, Task, share
from camelid.models.requests import Likelihood


def ask(number: int, row: Any) -> Question:
    contexts, ending = row["context_options"], " " + row["continuation"]
    gold = check_gold(row["gold"], len(contexts), f"item {number}")
    requests = tuple(Likelihood(context, ending) for context in contexts)
    return Question(str(number), requests, gold, example=contexts[gold] + ending)


TASK = Task(
    name="winogrande",
    about="whom a pronoun stands for",
    source="winogrande.jsonl",
    read=json_lines("context_options", "continuation", "gold"),
    ask=ask,
    score=score_choices,
    measures=(share("acc"),),
    headline="acc",
)
