"""Stage: ask a model all questions of a benchmark, and score its answers.

    camelid eval task arc_easy hellaswag --model MODEL --data DATA

Leaves records.jsonl, a row a question, and results.json. A killed run goes on after its last whole chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from pydantic import Field

from camelid.confined.sandbox import check_system
from camelid.durable import append_json_lines, keep_whole_chunks, write_json
from camelid.evaluate.tasks.asking import asked, chosen_questions
from camelid.evaluate.tasks.checked import Checker, trial_of
from camelid.evaluate.tasks.memory import Seen, contamination
from camelid.evaluate.tasks.registry import find_task
from camelid.evaluate.tasks.results import read_records, summarise
from camelid.evaluate.tasks.shots import Shots
from camelid.evaluate.tasks.task import Question, Task
from camelid.models.answering import Answerer, Tick
from camelid.models.compute import coarse_pays
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.requests import Answer, Generate, Likelihood, Scored
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
    checked: bool = False
    """Ask for likelihoods in bfloat16 first, and in float32 what is close: float32's choices in less time. Where the
    machine would gain nothing, and for tasks that are answered in writing, float32 alone."""
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
        asker = _Asker(answerer, task, questions, shots, s)
        sizes = [len(q.requests) * s.samples for q in questions]
        with run.progress("requests", sum(sizes), sum(sizes[:done])) as tick:
            for start in range(done, len(questions), size):
                append_json_lines(records, asker.records(start, start + size, tick))
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
                f"{task.name} runs code that the model wrote, within limits that camelid.confined.sandbox "
                f"describes; say --allow-code if that is what you want"
            )
        check_system()
    if s.checked and s.model.precision != "float32":
        raise ValueError(
            f"checked answers are compared with float32's, and model.precision is {s.model.precision}; say float32"
        )
    if s.samples > 1 and s.temperature == 0:
        raise ValueError(f"{s.samples} samples without a temperature would all be the same; add --temperature 0.8, say")
    if s.samples > 1 and max(measure.samples for measure in task.measures) == 1:
        raise ValueError(f"{task.name} is scored by one answer to each question; leave --samples out")


class _Asker:
    """Asks questions by number, as the settings say."""

    def __init__(self, answerer: Answerer, task: Task, questions: Sequence[Question], shots: Shots, s: TaskSettings):
        self.answerer, self.task, self.questions, self.shots, self.s = answerer, task, questions, shots, s
        likelihoods = all(isinstance(request, Likelihood) for request in questions[0].requests)
        self.checker: Checker | None = None
        if s.checked and likelihoods and coarse_pays():
            self.checker = Checker(answerer, task, self._askings(trial_of(questions)))

    def records(self, start: int, end: int, tick: Tick) -> list[dict[str, Any]]:
        """What the model answers to the questions from `start` to `end`."""
        askings = self._askings(self.questions[start:end])
        if self.checker is not None:
            checked = zip(askings, self.checker.answer(askings, tick), strict=True)
            return [record(self.task, q, own.answers) | {"off_by": own.off_by} for (q, _), own in checked]
        requests = [request for _, own in askings for request in own]
        answers = iter(self.answerer.answer(requests, tick, seed=derived_seed(self.s.seed, start)))
        return [record(self.task, q, list(islice(answers, len(own)))) for q, own in askings]

    def _askings(self, questions: Sequence[Question]) -> list[Any]:
        new, samples = self.s.max_new_tokens, self.s.samples
        return [(q, asked(q, self.shots, max_new_tokens=new, samples=samples)) for q in questions]


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
