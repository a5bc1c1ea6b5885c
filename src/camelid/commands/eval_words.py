"""The words of `camelid eval`: a function a group of verbs; what they do is in the modules that they name.

Imports nothing of ours, so that `camelid --help` stays quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Command = Callable[..., argparse.ArgumentParser]
"""`command(verbs, name, place, text, json=True)`: a verb that calls `place`, module:function in camelid.commands."""


def add(verbs: Any, command: Command) -> None:
    """All verbs of `camelid eval`."""
    for group in (_published, _benchmarks):
        group(verbs, command)


def _published(verbs: Any, command: Command) -> None:
    """Figures of published judgements, recomputed from their files."""
    vicuna = command(verbs, "vicuna", "eval_vicuna:vicuna", "sum up Vicuna's reviews: totals, wins, ratios", json=True)
    vicuna.add_argument("folder", help="folder of review_FIRST_SECOND.jsonl files, or one such file")
    vicuna.add_argument("--questions", default="", metavar="FILE", help="question.jsonl, for categories and checks")
    vicuna.add_argument("--category", default="", help="sum up one category's questions only")


def _benchmarks(verbs: Any, command: Command) -> None:
    """Benchmarks, by our own runner and by the lm-evaluation-harness on our engine."""
    listing = command(verbs, "tasks", "eval_tasks:list_tasks", "benchmarks, and how many items each has", json=True)
    task = command(verbs, "task", "eval_tasks:run_tasks", "ask a model the questions of benchmarks", json=True)
    task.add_argument("task", nargs="+", help="names; `camelid eval tasks` lists them")
    task.add_argument("--shots", type=int, default=None, help="worked examples (default: the task's own number)")
    task.add_argument("--limit", type=int, default=0, help="ask only so many questions, drawn by the seed")
    task.add_argument("--header", default="", metavar="FILE", help="text before the examples; {group}: the subject")
    task.add_argument("--chat", action="store_true", help="ask in the model's chat format")
    task.add_argument("--seed", type=int, default=0)
    task.add_argument("--out", default="runs/tasks", metavar="FOLDER", help="where records and results are left")
    task.add_argument(
        "--verify", type=int, default=0, metavar="N", help="compare N questions with plain forward passes"
    )
    for verb in (listing, task):
        verb.add_argument("--data", default="", metavar="FOLDER", help="holds benchmarks/ (default: CAMELID_DATA)")
    for verb in (task,):
        verb.add_argument("--model", required=True, help="a model's folder or name")
        verb.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
