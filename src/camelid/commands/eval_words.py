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
    for group in (_published, _rewards, _contamination):
        group(verbs, command)


def _published(verbs: Any, command: Command) -> None:
    """Figures of published judgements, recomputed from their files."""
    vicuna = command(verbs, "vicuna", "eval_vicuna:vicuna", "sum up Vicuna's reviews: totals, wins, ratios", json=True)
    vicuna.add_argument("folder", help="folder of review_FIRST_SECOND.jsonl files, or one such file")
    vicuna.add_argument("--questions", default="", metavar="FILE", help="question.jsonl, for categories and checks")
    vicuna.add_argument("--category", default="", help="sum up one category's questions only")


def _rewards(verbs: Any, command: Command) -> None:
    """Reward models as the thing evaluated."""
    text = "a reward model: accuracy with length taken out, calibration, drift, a second model's opinion"
    reward = command(verbs, "reward", "eval_reward:reward", text, json=True)
    reward.add_argument(
        "--preferences", required=True, nargs="+", metavar="FILE", help="judged pairs, in any known format"
    )
    reward.add_argument("--model", default="", metavar="REWARD_MODEL", help="folder of the reward model")
    reward.add_argument(
        "--scores", default="", metavar="FILE", help="in place of a model: rows of id, chosen and rejected score"
    )
    reward.add_argument("--train", default=[], nargs="+", metavar="FILE", help="pairs that it was trained on")
    reward.add_argument(
        "--fresh", default=[], nargs="+", metavar="FILE", help="answers of versions, oldest first, for drift"
    )
    reward.add_argument(
        "--second", default="", metavar="REWARD_MODEL", help="another reward model, for Goodhart's alarm"
    )
    reward.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")
    reward.add_argument("--out", default="runs/single", metavar="FOLDER", help="folder of the run")

    best = command(
        verbs, "best-of-n", "eval_best_of_n:best_of_n", "what the best of N samples is worth, along N", json=True
    )
    best.add_argument("file", help="scored samples: rows of prompt_id and score, or a list of K scores a prompt")
    best.add_argument("--key", default="score", help="the score's name in a row (default: score)")
    best.add_argument("--second", default="", metavar="FILE", help="a second model's scores of the same samples")
    best.add_argument("--second-key", default="", metavar="KEY", help="the second score's name in a row")


def _contamination(verbs: Any, command: Command) -> None:
    """Benchmarks against training files."""
    text = "items of a benchmark that stand in training files, by LLaMA-2's and GPT-3's measures"
    dirty = command(verbs, "contamination", "eval_contamination:contamination", text, json=True)
    dirty.add_argument("files", nargs="+", metavar="BENCHMARK_FILE", help="a row an item, in any container")
    dirty.add_argument("--train", required=True, nargs="+", metavar="FILE", help="training rows, in any container")
    dirty.add_argument(
        "--fields", default=[], nargs="+", metavar="KEY", help="keys of an item's text (default: all text)"
    )
    dirty.add_argument("--tokenizer", default="", metavar="MODEL", help="compare this model's tokens instead of words")
    dirty.add_argument("--all", action="store_true", help="print all contaminated items, not the worst only")
