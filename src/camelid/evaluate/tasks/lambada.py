"""LAMBADA (Paperno et al. 2016, arXiv:1606.06031), OpenAI's version: the last word of a passage, in full."""

from __future__ import annotations

from typing import Any

from camelid.evaluate.tasks.reading import json_lines
from camelid.evaluate.tasks.scorers import score_last_word
from camelid.evaluate.tasks.task import Measure, Question, Task, share
from camelid.functional.perplexity import perplexity
from camelid.models.requests import Likelihood


def ask(number: int, row: Any) -> Question:
    request = Likelihood(row["context"], " " + row["continuation"])
    return Question(str(number), (request,), row["continuation"], example="".join(request))


TASK = Task(
    name="lambada",
    about="the last word of a passage",
    source="lambada_openai.jsonl",
    read=json_lines("context", "continuation"),
    ask=ask,
    score=score_last_word,
    measures=(
        share("acc"),
        Measure("perplexity", "", lambda scores: perplexity([s["nll"] for s in scores], [1] * len(scores))),
    ),
    headline="acc",
)
