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
    for group in (_published, _judged):
        group(verbs, command)


def _published(verbs: Any, command: Command) -> None:
    """Figures of published judgements, recomputed from their files."""
    vicuna = command(verbs, "vicuna", "eval_vicuna:vicuna", "sum up Vicuna's reviews: totals, wins, ratios", json=True)
    vicuna.add_argument("folder", help="folder of review_FIRST_SECOND.jsonl files, or one such file")
    vicuna.add_argument("--questions", default="", metavar="FILE", help="question.jsonl, for categories and checks")
    vicuna.add_argument("--category", default="", help="sum up one category's questions only")


def _judged(verbs: Any, command: Command) -> None:
    """Recorded judgements of pairs of models, counted."""
    winrate = command(verbs, "winrate", "eval_winrate:winrate", "win rates from files of judgements", json=True)
    winrate.add_argument("files", nargs="+", metavar="FILE", help="AlpacaEval annotations, or JSON Lines of judgements")
    winrate.add_argument(
        "--difficulty", default="", metavar="FILE", help="CSV: difficulty of each instruction, for the length control"
    )
    winrate.epilog = (
        "Length-controlled win rates are estimates: AlpacaEval's own rest on difficulties that its files do not hold."
    )
    rank = command(verbs, "rank", "eval_rank:rank", "many models on one scale (Bradley-Terry, Elo)", json=True)
    rank.add_argument("files", nargs="+", metavar="FILE", help="judgements of pairs; together they join all models")
    rank.add_argument(
        "--anchor", default="", metavar="MODEL", help="model with a fixed rating (default: none, the mean)"
    )
    rank.add_argument("--anchor-rating", type=float, default=1000.0, metavar="RATING", help="its rating, or the mean's")
