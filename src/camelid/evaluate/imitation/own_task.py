"""The stage of local imitation: a benchmark's questions that will not be asked, each with its right answer.

Imitating these teaches a task, not a teacher's manner. What will be asked is left as prompts, so that the import stage
can drop questions that repeat one (benchmarks hold near-copies).
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from camelid.evaluate.tasks.registry import find_task
from camelid.evaluate.tasks.task import Question
from camelid.models.requests import Likelihood
from camelid.runs import Run, Settings
from camelid.types import Conversation, Message, Prompt, draw, write_records


class OwnTaskSettings(Settings):
    """Questions of a benchmark as conversations."""

    task: str = "arc_easy"
    """Name of a task of multiple choice by likelihood."""
    num_asked: int = Field(default=300, ge=1)
    """Items that the evaluation asks, drawn by the seed as it draws them; all others are imitated."""


def own_task_rows(run: Run) -> dict[str, Any]:
    """Stage: `benchmark` (the task's file) -> rows.jsonl (conversations), asked.jsonl (prompts)."""
    s: OwnTaskSettings = run.settings
    questions = find_task(s.task).questions(run.inputs["benchmark"])
    if s.num_asked >= len(questions):
        raise ValueError(f"num_asked = {s.num_asked} leaves nothing to imitate: {s.task} has {len(questions)} items")
    drawn = {question.id for question in draw(questions, s.num_asked, s.seed)}
    asked = [_texts(question, s.task) for question in questions if question.id in drawn]
    others = [_texts(question, s.task) for question in questions if question.id not in drawn]
    write_records(run.path / "asked.jsonl", [Prompt(prompt=_turn(context), source=s.task) for context, _ in asked])
    rows = [
        Conversation(messages=(*_turn(context), Message(role="assistant", content=answer)), source=s.task)
        for context, answer in others
    ]
    write_records(run.path / "rows.jsonl", rows)
    return {"num_asked": len(asked), "num_rows": len(rows)}


def _turn(context: str) -> tuple[Message, ...]:
    return (Message(role="user", content=context),)


def _texts(question: Question, task: str) -> tuple[str, str]:
    """(what is asked, the right answer)"""
    requests = question.requests
    if not isinstance(question.gold, int) or not all(isinstance(request, Likelihood) for request in requests):
        raise ValueError(f"{task} has no choices to imitate; take a task of multiple choice, such as arc_easy")
    right = requests[question.gold]
    assert isinstance(right, Likelihood)
    return right.context, right.continuation.strip()
