"""Figures of published judgements, recomputed from their files."""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(verbs: Any, command: Command) -> None:
    vicuna = command(verbs, "vicuna", "eval_vicuna:vicuna", "sum up Vicuna's reviews: totals, wins, ratios", json=True)
    vicuna.add_argument("folder", help="folder of review_FIRST_SECOND.jsonl files, folder of such folders, or one file")
    vicuna.add_argument("--questions", default="", metavar="FILE", help="question.jsonl, for categories and checks")
    vicuna.add_argument("--category", default="", help="sum up one category's questions only")
