"""HumanEval (Chen et al. 2021, arXiv:2107.03374): 164 functions to be written from their docstrings, tested by running.

    camelid eval task humaneval --model MODEL --data DATA --allow-code [--samples 20 --temperature 0.8]

What the model writes is run, in a child process within limits (`confined/sandbox.py`, which says what they hold
and what not), and only with --allow-code. pass@k of several samples is the paper's unbiased estimate; a single greedy
answer gives pass@1. The prompt is asked without its last line break, and the text cut at the paper's five stop strings
or a closing fence; where it does not start with an indented line, as a chat model's (--chat, with the task put in words
by --header FILE), its first fenced block is taken instead. Programs may import only the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from camelid.confined.fenced import FENCED
from camelid.confined.sandbox import run_programs
from camelid.evaluate.tasks.reading import json_lines
from camelid.evaluate.tasks.task import Measure, Question, Scores, Task, share
from camelid.evaluate.tasks.written import text_of
from camelid.functional.pass_at_k import pass_at_k
from camelid.functional.statistics import Estimate, win_rate
from camelid.models.requests import Answer, Generate

STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "\n```")
MAX_NEW_TOKENS = 512


def ask(number: int, row: Any) -> Question:
    # Not stopped by the request: what has to be cut depends on whether a block is fenced.
    # And without the line break at its end: tokens of code begin with one, and a model would rather start anew.
    request = Generate(row["prompt"].rstrip(), (), MAX_NEW_TOKENS)
    gold = (row["prompt"], row["test"], row["entry_point"])
    return Question(row["task_id"], (request,), gold, example=row["prompt"] + row["canonical_solution"].rstrip())


def program(prompt: str, test: str, entry_point: str, answer: str) -> str:
    """The answer as a whole program that ends with its tests."""
    fenced = None if answer.lstrip("\n").startswith(("  ", "\t")) else FENCED.search(answer)
    body = fenced[1] if fenced else answer[: min((answer.index(s) for s in STOPS if s in answer), default=None)]
    # A fenced block mostly repeats the function; then only what stands before it, such as imports, is needed.
    repeats = fenced and re.search(rf"^def {re.escape(entry_point)}\b", body, re.MULTILINE)
    start = prompt[: prompt.rindex(f"def {entry_point}")] if repeats else prompt
    return f"{start.rstrip()}\n{body}\n{test}\ncheck({entry_point})\n"


def score(question: Question, answers: Sequence[Answer]) -> dict[str, Any]:
    """Every sample run: how many there are, how many pass, why others fail. Invalid: none of them has any text."""
    texts = [text_of(answer) for answer in answers]
    prompt, test, entry_point = question.gold
    outcomes = run_programs([program(prompt, test, entry_point, text) for text in texts])
    correct = sum(outcome.passed for outcome in outcomes)
    return {
        "samples": len(outcomes),
        "correct": correct,
        "failures": [outcome.why for outcome in outcomes if not outcome.passed],
        "invalid": float(not any(text.strip() for text in texts)),
    }


def pass_at(k: int) -> Measure:
    """pass@k over problems; Wilson's interval where all are alike, else a bootstrap of problems."""

    def estimate(scores: Sequence[Scores]) -> Estimate:
        return win_rate([pass_at_k(s["samples"], s["correct"], k) for s in scores])

    return Measure(f"pass@{k}", "%", estimate, samples=k)


TASK = Task(
    name="humaneval",
    about="functions to write from their docstrings",
    source="humaneval.jsonl.gz",
    read=json_lines("task_id", "prompt", "entry_point", "canonical_solution", "test"),
    ask=ask,
    score=score,
    measures=(pass_at(1), pass_at(10), pass_at(100), share("invalid")),
    headline="pass@1",
    separator="\n\n\n",
    rule="programs that fail, in whatever way, are wrong; problems without any text are counted as invalid and score 0",
    runs_code=True,
)
