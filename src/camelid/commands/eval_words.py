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
    for group in (_published, _safety):
        group(verbs, command)


def _published(verbs: Any, command: Command) -> None:
    """Figures of published judgements, recomputed from their files."""
    vicuna = command(verbs, "vicuna", "eval_vicuna:vicuna", "sum up Vicuna's reviews: totals, wins, ratios", json=True)
    vicuna.add_argument("folder", help="folder of review_FIRST_SECOND.jsonl files, or one such file")
    vicuna.add_argument("--questions", default="", metavar="FILE", help="question.jsonl, for categories and checks")
    vicuna.add_argument("--category", default="", help="sum up one category's questions only")


def _safety(verbs: Any, command: Command) -> None:
    """Refusals, violations."""
    text = "how often is refused; on XSTest's completions, how well the rule agrees with people"
    refusals = command(verbs, "refusals", "eval_safety:refusals", text, json=True)
    refusals.add_argument("files", nargs="+", metavar="FILE", help="answers: ours, AlpacaEval's outputs, XSTest's .csv")

    text = "refusals of unsafe and of harmless prompts, and violations, by category and style of attack"
    safety = command(verbs, "safety", "eval_safety:safety", text, json=True)
    safety.add_argument("files", nargs="+", metavar="ANSWERS", help="answers to prompts that are tagged or named")
    safety.add_argument(
        "--prompts", action="extend", nargs="+", default=[], metavar="FILE", help="what the prompts are"
    )
    safety.add_argument(
        "--ratings", default="", metavar="FILE", help="people's ratings, 1 to 5; 1 and 2 are violations"
    )
    safety.add_argument("--judge", default="", metavar="MODEL", help="reward model for safety that judges violations")
    safety.add_argument("--threshold", type=float, metavar="SCORE", help="below this score an answer is a violation")
