"""Which questions of a benchmark are asked, and how the examples stand in front of them. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from camelid.evaluate.tasks.shots import Shots
from camelid.evaluate.tasks.task import Question, Task
from camelid.models.requests import Generate, Request
from camelid.types import draw


def chosen_questions(
    task: Task, path: Path, *, shots: int | None, limit: int, header: str | None, seed: int
) -> tuple[list[Question], Shots]:
    """The questions to ask, and what stands before them; examples are drawn from all, asked or not."""
    every = task.questions(path)
    if header is not None:
        every = [q.with_header(header.replace("{group}", q.group)) for q in every]
    return draw(every, limit, seed), Shots(task, path, every, task.shots if shots is None else shots, seed)


def asked(question: Question, shots: Shots, *, max_new_tokens: int | None = None, samples: int = 1) -> list[Request]:
    """The question's requests with the examples in front; those to be written `samples` times each."""
    prefix, requests = shots.prefix(question), list[Request]()
    for request in question.requests:
        request = request.after(prefix)
        if isinstance(request, Generate):
            limit = max_new_tokens or request.max_new_tokens
            requests += [request._replace(max_new_tokens=limit)] * samples
        else:
            requests.append(request)
    return requests
