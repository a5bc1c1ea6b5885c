"""Benchmarks, by our own runner and by the lm-evaluation-harness on our engine."""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(verbs: Any, command: Command) -> None:
    listing = command(verbs, "tasks", "eval_tasks:list_tasks", "benchmarks, and how many items each has", json=True)
    task = command(verbs, "task", "eval_tasks:run_tasks", "ask a model the questions of benchmarks", json=True)
    task.add_argument("task", nargs="+", help="names; `camelid eval tasks` lists them")
    task.add_argument("--shots", type=int, default=None, help="worked examples (default: the task's own number)")
    task.add_argument("--limit", type=int, default=0, help="ask only so many questions, drawn by the seed")
    task.add_argument("--header", default="", metavar="FILE", help="text before the examples; {group}: the subject")
    task.add_argument("--max-new-tokens", type=int, default=None, help="longest answer, where one is written")
    task.add_argument("--samples", type=int, default=1, help="answers to each question, for pass@k")
    task.add_argument("--temperature", type=float, default=0.0, help="of written answers; 0: the likeliest token")
    task.add_argument("--allow-code", action="store_true", help="run code that the model writes, within limits")
    task.add_argument(
        "--train", nargs="+", default=[], metavar="FILE", help="training files, in which the questions are looked for"
    )
    task.add_argument("--chat", action="store_true", help="ask in the model's chat format")
    task.add_argument("--seed", type=int, default=0)
    task.add_argument("--out", default="runs/tasks", metavar="FOLDER", help="where records and results are left")
    task.add_argument(
        "--verify", type=int, default=0, metavar="N", help="compare N questions with plain forward passes"
    )
    for verb in (listing, task):
        verb.add_argument("--data", default="", metavar="FOLDER", help="holds benchmarks/ (default: CAMELID_DATA)")
    harness = command(
        verbs, "harness", "eval_harness:harness", "tasks of lm-evaluation-harness on our engine", json=True
    )
    harness.add_argument("--tasks", required=True, help="names, with commas between them")
    harness.add_argument("--include", default="", metavar="FOLDER", help="folder of task files (.yaml) of your own")
    harness.add_argument("--shots", type=int, default=None)
    harness.add_argument("--limit", type=int, default=0, help="the first so many items of each task")
    for verb in (task, harness):
        verb.add_argument("--model", required=True, help="a model's folder or name")
    task.add_argument(
        "--precision",
        default="auto",
        choices=["auto", "float32", "bfloat16", "checked"],
        help="checked: choices in bfloat16, and in float32 again where they are close",
    )
    harness.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
