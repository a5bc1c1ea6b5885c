"""Perplexity of web documents (C4), by word, by byte and in bits a byte, as the lm-evaluation-harness counts them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from camelid.evaluate.tasks.reading import json_lines
from camelid.evaluate.tasks.task import Measure, Question, Scores, Task
from camelid.functional.perplexity import nats_a_unit, perplexity
from camelid.functional.statistics import Estimate
from camelid.models.requests import Answer, Rolling, Scored


def ask(number: int, row: Any) -> Question:
    return Question(str(number), (Rolling(row["text"]),), None, example=row["text"])


def score(question: Question, answers: Sequence[Answer]) -> dict[str, float]:
    """Nats, words and bytes of a document."""
    answer, text = answers[0], question.example
    assert isinstance(answer, Scored)
    return {"nll": -answer.logprob, "words": len(re.split(r"\s+", text)), "bytes": len(text.encode())}


def word_perplexity(scores: Sequence[Scores]) -> Estimate:
    return perplexity([s["nll"] for s in scores], [s["words"] for s in scores])


def byte_perplexity(scores: Sequence[Scores]) -> Estimate:
    return perplexity([s["nll"] for s in scores], [s["bytes"] for s in scores])


def bits_per_byte(scores: Sequence[Scores]) -> Estimate:
    nats = nats_a_unit([s["nll"] for s in scores], [s["bytes"] for s in scores])
    value, low, high, error = (x / math.log(2) for x in (nats.value, nats.low, nats.high, nats.standard_error))
    return Estimate(value, low, high, nats.n, error)


TASK = Task(
    name="documents",
    about="perplexity of web documents",
    source="c4_demo.jsonl",
    folder="pretraining",
    read=json_lines("text"),
    ask=ask,
    score=score,
    measures=(
        Measure("word_perplexity", "", word_perplexity),
        Measure("byte_perplexity", "", byte_perplexity),
        Measure("bits_per_byte", "bits", bits_per_byte),
    ),
    headline="word_perplexity",
)
