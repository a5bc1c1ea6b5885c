"""Stage: ask a model all questions of a benchmark, and score its answers.

    camelid eval task arc_easy hellaswag --model MODEL --data DATA

Leaves records.jsonl, a row a question, and results.json. A killed run goes on after its last whole chunk.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from camelid.durable import append_json_lines, keep_whole_chunks, read_whole_lines, write_json
from camelid.evaluate.code.sandbox import check_system
from camelid.evaluate.tasks.asking import asked, chosen_questions
from camelid.evaluate.tasks.memory import Seen, contamination
from camelid.evaluate.tasks.registry import find_task
from camelid.evaluate.tasks.shots import Shots
from camelid.evaluate.tasks.task import Measure, Question, Task
from camelid.models.answering import Answerer
from camelid.models.policy import Policy
from camelid.models.requests import Answer, Generate, Scored
from camelid.models.trunk import ModelSettings
from camelid.runs import Run, Settings, derived_seed

WRITTEN_CHUNK = 128


class TaskSettings(Settings):
    """One benchmark, and how it is asked."""

    task: str = "arc_easy"
    """Name of the task; `camelid eval tasks` lists them."""
    shots: int | None = Field(default=None, ge=0)
    """Worked examples in front of each question; null is the task's own number."""
    limit: int = Field(default=0, ge=0)
    """Ask only so many questions, drawn by the seed (a larger number holds a smaller one's); 0 asks all."""
    header: str | None = None
    """What stands before the examples, {group} being the question's group; null is the task's own."""
    in_chat: bool = False
    """Ask in a user's turn of the model's chat format, and look for the answer in the assistant's."""
    chat_format: str = "model"
    """Chat format, where asked in chat."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Longest answer, where the task is answered in writing; null is the task's own number."""
    samples: int = Field(default=1, ge=1)
    """Answers to each question, for pass@k."""
    temperature: float = Field(default=0.0, ge=0.0)
    """Of written answers; 0 takes the likeliest token, and then one sample is all there is."""
    allow_code: bool = False
    """Run what the model writes, where the task asks for it."""
    model: ModelSettings = ModelSettings()
    """How the model is held in memory."""
    questions_a_chunk: int = Field(default=1000, ge=1)
    """Questions asked between two writes to disk; what they have in common is computed once a chunk. At most 128 where
    answers are written, which takes longer."""


def evaluate_task(run: Run) -> dict[str, Any]:
    """Stage: `model`, `data` (the task's file or folder), optional `train` (files) -> records.jsonl, results.json.

    `train`: what the model was trained on, in which the questions are looked for.
    """
    s: TaskSettings = run.settings
    task = find_task(s.task)
    check_settings(task, s)
    questions, shots = chosen_questions(
        task, run.inputs["data"], shots=s.shots, limit=s.limit, header=s.header, seed=s.seed
    )
    seen = _seen(run, questions)  # before anything is asked: a wrong file shows at once
    records = run.path / "records.jsonl"
    size = chunk_size(s, questions)
    done = keep_whole_chunks(records, size, len(questions))
    if done < len(questions):
        answerer = Answerer(
            Policy.load(run.inputs["model"], s.model, s.chat_format), in_chat=s.in_chat, temperature=s.temperature
        )
        sizes = [len(q.requests) * s.samples for q in questions]
        with run.progress("requests", sum(sizes), sum(sizes[:done])) as tick:
            for start in range(done, len(questions), size):
                chunk = questions[start : start + size]
                requests = [
                    r for q in chunk for r in asked(q, shots, max_new_tokens=s.max_new_tokens, samples=s.samples)
                ]
                answers = iter(answerer.answer(requests, tick, seed=derived_seed(s.seed, start)))
                rows = [record(task, q, list(islice(answers, len(q.requests) * s.samples))) for q in chunk]
                append_json_lines(records, rows)
    results = summarise(task, read_records(records), shots, seen)
    write_json(run.path / "results.json", results)
    return {"task": task.name, "n": results["n"], task.headline: results["measures"][task.headline]["value"]}


def _seen(run: Run, questions: Sequence[Question]) -> Seen | None:
    """What of the questions stood in the training files; None where none are named."""
    files = run.inputs.get("train", [])
    files = files if isinstance(files, list) else [files]
    return contamination(questions, files) if files else None


def check_settings(task: Task, s: TaskSettings) -> None:
    """Raise ValueError for settings that do not go with the task or with one another."""
    if task.runs_code:
        if not s.allow_code:
            raise ValueError(
                f"{task.name} runs code that the model wrote, within limits that camelid.evaluate.code.sandbox "
                f"describes; say --allow-code if that is what you want"
            )
        check_system()
    if s.samples > 1 and s.temperature == 0:
        raise ValueError(f"{s.samples} samples without a temperature would all be the same; add --temperature 0.8, say")
    if s.samples > 1 and max(measure.samples for measure in task.measures) == 1:
        raise ValueError(f"{task.name} is scored by one answer to each question; leave --samples out")


def chunk_size(s: TaskSettings, questions: Sequence[Question]) -> int:
    written = any(isinstance(request, Generate) for request in questions[0].requests)
    return min(s.questions_a_chunk, WRITTEN_CHUNK) if written else s.questions_a_chunk


def record(task: Task, question: Question, answers: Sequence[Answer]) -> dict[str, Any]:
    """What is kept of a question: the answers as they came, and what the scorer made of them."""
    said = [{"logprob": a.logprob, "greedy": a.greedy} if isinstance(a, Scored) else a._asdict() for a in answers]
    gold = list(question.gold) if isinstance(question.gold, tuple) else question.gold
    return {
        "id": question.id,
        "group": question.group,
        "gold": gold,
        "answers": said,
        "scores": task.score(question, answers),
    }


def read_records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read_whole_lines(path)]


def summarise(task: Task, records: Sequence[dict[str, Any]], shots: Shots, seen: Seen | None = None) -> dict[str, Any]:
    """Every measure with its interval, over all questions and by group where there are several; the headline also over
    the questions that did not stand in the training files."""
    groups = sorted({r["group"] for r in records})
    by_group = {g: _measure(task.measures[0], [r for r in records if r["group"] == g]) for g in groups}
    return {
        "task": task.name,
        "n": len(records),
        "shots": shots.number,
        "shots_from": shots.source,
        "headline": task.headline,
        "rule": task.rule,
        "measures": {m.name: _measure(m, records) for m in task.measures if len(records[0]["answers"]) >= m.samples},
        "by_group": by_group if len(groups) > 1 else {},
        "contamination": seen and _contamination(task, records, *seen),
    }


def _contamination(
    task: Task, records: Sequence[dict[str, Any]], described: dict[str, Any], dirty: set[int]
) -> dict[str, Any]:
    clean = [r for i, r in enumerate(records) if i not in dirty]
    measure = next(m for m in task.measures if m.name == task.headline)
    return described | {f"{task.headline}_without_dirty": _measure(measure, clean) if clean else None}


def _measure(measure: Measure, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares in percent; bounds that are not known are null."""
    estimate = measure.estimate([{**r["scores"], "group": r["group"]} for r in records])
    factor = 100 if measure.unit == "%" else 1
    numbers = {
        "value": factor * estimate.value,
        "low": factor * estimate.low,
        "high": factor * estimate.high,
        "standard_error": factor * estimate.standard_error,
    }
    known = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {**known, "n": estimate.n, "unit": measure.unit}
