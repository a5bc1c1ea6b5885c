"""Natural Questions, open (Lee et al. 2019, arXiv:1906.00300): what people asked a search engine, without the page.

Five shots; the False Promise (Gudibande et al. 2023, arXiv:2305.15717) uses three: `--shots 3`. Examples come from
other items of the file. Right is SQuAD's exact match with any of the answers.
"""

from __future__ import annotations

from typing import Any

from camelid.evaluate.tasks.reading import json_lines
from camelid.evaluate.tasks.task import Question, Task, share
from camelid.evaluate.tasks.written import INVALID_IS_WRONG, score_short_answer, short_answer_question


def ask(number: int, row: Any) -> Question:
    return short_answer_question(str(number), f"{row['question'].removesuffix('?')}?", row["answer"])


TASK = Task(
    name="nq_open",
    about="what people asked a search engine",
    source="nq_open/NQ-open.dev.jsonl",
    read=json_lines("question", "answer"),
    ask=ask,
    score=score_short_answer,
    measures=(share("exact_match"), share("invalid")),
    headline="exact_match",
    shots=5,
    rule=INVALID_IS_WRONG,
)
