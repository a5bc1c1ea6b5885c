"""TriviaQA (Joshi et al. 2017, arXiv:1705.03551) without documents: questions of quizzes; any alias is right.

The file at hand has 3,000 items of it. Answers are compared as SQuAD's are, not by TriviaQA's own, slightly different
clean-up.
"""

from __future__ import annotations

from typing import Any

from camelid.evaluate.tasks.reading import json_lines
from camelid.evaluate.tasks.task import Question, Task, share
from camelid.evaluate.tasks.written import INVALID_IS_WRONG, score_short_answer, short_answer_question


def ask(number: int, row: Any) -> Question:
    question = row["context"].removeprefix("Question: ").removesuffix("\nAnswer:")
    # The answer itself first, for the examples; it is not among the aliases of every item.
    return short_answer_question(str(number), question, [row["answer"], *row["aliases"]])


TASK = Task(
    name="triviaqa",
    about="questions of quizzes",
    source="triviaqa_sm_sub.jsonl",
    read=json_lines("context", "answer", "aliases"),
    ask=ask,
    score=score_short_answer,
    measures=(share("exact_match"), share("invalid")),
    headline="exact_match",
    shots=5,
    rule=INVALID_IS_WRONG,
)
