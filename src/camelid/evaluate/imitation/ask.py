"""The stage that asks one model the questions of several benchmarks, without examples, and keeps each item's score.

As `evaluate_task`, for many small samples: the model is loaded once for all of them, and two models' scores can be
compared item by item. Only benchmarks whose headline is a share count as facts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from camelid.durable import write_json
from camelid.evaluate.tasks.registry import find_task
from camelid.evaluate.tasks.task import Question, Task
from camelid.functional.statistics import proportion
from camelid.models.answering import Answerer
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.runs import Run, Settings
from camelid.types import draw


class AskSettings(Settings):
    """Benchmarks and how many of their items are asked."""

    items: dict[str, int] = Field(default={"arc_easy": 300, "piqa": 300})
    """Number of items by task, drawn by the seed (a larger number holds a smaller one's); 0 asks all."""
    model: ModelSettings = ModelSettings()
    """How the model is held in memory."""


def ask_facts(run: Run) -> dict[str, Any]:
    """Stage: `model`, `data` (the tasks' files, in the order of `items`) -> results.json, scores.json."""
    s: AskSettings = run.settings
    files = run.inputs["data"] if isinstance(run.inputs["data"], list) else [run.inputs["data"]]
    answerer = Answerer(Policy.load(run.inputs["model"], s.model))
    scores = {}
    for (name, number), file in zip(s.items.items(), files, strict=True):
        done = run.path / f"{name}.json"  # written whole or not at all: a killed run goes on after it
        if not done.exists():
            write_json(done, _ask(run, answerer, find_task(name), chosen(find_task(name), file, number, s.seed)))
        scores[name] = json.loads(done.read_text())
    results = {
        name: {"acc": proportion(sum(row["scores"]), len(row["scores"]))._asdict(), "headline": row["headline"]}
        for name, row in scores.items()
    }
    write_json(run.path / "results.json", results)
    write_json(
        run.path / "scores.json", {name: dict(zip(r["ids"], r["scores"], strict=True)) for name, r in scores.items()}
    )
    return {name: result["acc"]["value"] for name, result in results.items()}


def chosen(task: Task, file: Path, number: int, seed: int) -> list[Question]:
    """The questions that are asked: those that `evaluate_task` draws with the same limit and seed."""
    return draw(task.questions(file), number, seed)


def _ask(run: Run, answerer: Answerer, task: Task, questions: list[Question]) -> dict[str, Any]:
    requests = [request for question in questions for request in question.requests]
    with run.progress(task.name, len(requests)) as tick:
        answers = iter(answerer.answer(requests, tick))
    scored = [task.score(question, [next(answers) for _ in question.requests]) for question in questions]
    right = [row[task.headline] for row in scored]
    if any(value not in (0, 1) for value in right):
        raise ValueError(f"{task.name} is no fact: its {task.headline} is not just right or wrong")
    return {"headline": task.headline, "ids": [question.id for question in questions], "scores": right}
