"""SVAMP (Patel et al. 2021, arXiv:2103.07191): short problems of one or two steps, with varied wording.

The file at hand has 300 of its 1,000 items. The examples show the item's equation as the solution.
"""

from __future__ import annotations

import re
from typing import Any

from camelid.evaluate.tasks.reading import json_lines
from camelid.evaluate.tasks.task import Question, Task, share
from camelid.evaluate.tasks.written import INVALID_IS_WRONG, problem_question, score_number


def equation(expression: str, answer: str) -> str:
    """ "( 8.0 - 7.0 )" and "1" as "8 - 7 = 1"."""
    plain = re.sub(r"\.0\b", "", expression.strip())
    plain = plain.removeprefix("( ").removesuffix(" )")
    return f"{plain} = {answer}"


def ask(number: int, row: Any) -> Question:
    solution = equation(row["chain_of_thought"], row["answer"])
    return problem_question(str(number), row["context"], solution, row["answer"], max_new_tokens=128)


TASK = Task(
    name="svamp",
    about="short problems of arithmetic in words",
    source="svamp.jsonl",
    read=json_lines("context", "chain_of_thought", "answer"),
    ask=ask,
    score=score_number,
    measures=(share("strict_match"), share("flexible_extract"), share("unmarked"), share("invalid")),
    headline="strict_match",
    shots=8,
    rule=INVALID_IS_WRONG,
)
