"""A task's first questions computed twice: with shared prompts, and one plain forward pass a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from camelid.evaluate.tasks.asking import asked, chosen_questions
from camelid.evaluate.tasks.registry import find_task
from camelid.evaluate.tasks.stage import TaskSettings
from camelid.models.answering import Answerer
from camelid.models.plain import plain_logprobs
from camelid.models.policy import Policy
from camelid.models.requests import Generate


def verify(model: Path, data: Path, s: TaskSettings, number: int) -> dict[str, Any]:
    """The largest difference of log-likelihoods over `number` questions, in nats, in float32 whatever the settings.

    Raises ValueError for a task that is answered in writing.
    """
    task = find_task(s.task)
    questions, shots = chosen_questions(task, data, shots=s.shots, limit=number, header=s.header, seed=s.seed)
    requests = [request for question in questions for request in asked(question, shots)]
    if any(isinstance(request, Generate) for request in requests):
        raise ValueError(f"{task.name} is answered in writing: there are no log-likelihoods to compare")
    in_float32 = s.model.model_copy(update={"precision": "float32"})
    answerer = Answerer(Policy.load(model, in_float32, s.chat_format), in_chat=s.in_chat)
    rows = answerer.rows(requests)
    ours = [float(scores.logprobs.double().sum()) for scores in answerer.scores(rows)]
    plain = plain_logprobs(model, rows)
    gaps = [abs(a - b) for a, b in zip(ours, plain, strict=True)]
    tokens = [len(row.ids) - row.start for row in rows]
    return {
        "task": task.name,
        "n": len(questions),
        "rows": len(rows),
        "largest_difference": max(gaps),
        "largest_difference_a_token": max(gap / count for gap, count in zip(gaps, tokens, strict=True)),
        "longest_row_tokens": max(len(row.ids) for row in rows),
    }
