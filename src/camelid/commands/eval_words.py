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
    for group in (_published, _judges):
        group(verbs, command)


def _published(verbs: Any, command: Command) -> None:
    """Figures of published judgements, recomputed from their files."""
    vicuna = command(verbs, "vicuna", "eval_vicuna:vicuna", "sum up Vicuna's reviews: totals, wins, ratios", json=True)
    vicuna.add_argument("folder", help="folder of review_FIRST_SECOND.jsonl files, or one such file")
    vicuna.add_argument("--questions", default="", metavar="FILE", help="question.jsonl, for categories and checks")
    vicuna.add_argument("--category", default="", help="sum up one category's questions only")


def _judges(verbs: Any, command: Command) -> None:
    """Answers put before a model that judges them."""
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
