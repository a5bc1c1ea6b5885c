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
    for group in (_published,):
        group(verbs, command)


def _published(verbs: Any, command: Command) -> None:
    """Figures of published judgements, recomputed from their files."""
    vicuna = command(verbs, "vicuna", "eval_vicuna:vicuna", "sum up Vicuna's reviews: totals, wins, ratios", json=True)
    vicuna.add_argument("folder", help="folder of review_FIRST_SECOND.jsonl files, or one such file")
    vicuna.add_argument("--questions", default="", metavar="FILE", help="question.jsonl, for categories and checks")
    vicuna.add_argument("--category", default="", help="sum up one category's questions only")


def add_compare(commands: Any, command: Command) -> None:
    """`camelid compare`, which stands by itself."""
    compare = command(commands, "compare", "compare:compare", "two models: how they write, what they know", json=True)
    compare.add_argument("a", help="a file of answers, or a model")
    compare.add_argument("b", help="another; the reference, too, where none is named")
    compare.add_argument("--reference", default="", metavar="FILE", help="the teacher's answers to the same prompts")
    compare.add_argument("--facts", nargs=2, default=[], metavar=("DIR_A", "DIR_B"), help="benchmark results of each")
    compare.add_argument("--judge", default="", metavar="MODEL", help="a reward model: who wins against the reference")
    compare.add_argument(
        "--prompts", default="", metavar="FILE", help="what models are asked (default: the reference's)"
    )
    compare.add_argument("--max-prompts", type=int, default=0, help="ask models only so many, drawn by seed 0 (0: all)")
    compare.add_argument("--max-new-tokens", type=int, default=256, help="length at which a model's answers are cut")
    compare.add_argument("--temperature", type=float, default=0.7, help="of a model's answers; 0 takes the likeliest")
    compare.add_argument("--out", default="", metavar="DIR", help="write comparison.json and the figures there")
