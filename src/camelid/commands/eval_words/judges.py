"""Answers put before a model that judges them."""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(verbs: Any, command: Command) -> None:
    judge = command(verbs, "judge", "eval_judge:judge", "have a model compare or rate answers", json=True)
    judge.epilog = "every setting: camelid eval judge --settings"
    judge.add_argument("answers", nargs="*", metavar="ANSWERS", help="one file of answers to rate, two to compare")
    judge.add_argument(
        "--way",
        default="",
        help="lima, lima-single, vicuna, mt-bench, mt-bench-single, alpaca-eval or alpaca-eval-weighted",
    )
    judge.add_argument("--questions", default="", metavar="FILE", help="questions of FastChat's answer files")
    judge.add_argument("--references", default="", metavar="FILE", help="correct answers that mt-bench shows the judge")
    judge.add_argument("--prompt", default="", metavar="FILE", help="another question to the judge, text or FastChat's")
    judge.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="such as remote.model=NAME")
    judge.add_argument("--out", default="runs/judged", metavar="DIR", help="folder of the run (default: runs/judged)")
    judge.add_argument("--dry-run", action="store_true", help="print what it will cost; ask nothing")
    judge.add_argument(
        "--prices", default="", metavar="FILE", help='{"MODEL": {"input": USD, "output": USD}} a million'
    )
    judge.add_argument("--tokenizer", default="", metavar="MODEL", help="count the dry run's tokens with this one")
    judge.add_argument("--settings", action="store_true", help="print all settings for --set")
