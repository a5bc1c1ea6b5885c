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
    for group in (_published, _safety, _bold, _truth):
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
    refusals = command(verbs, "refusals", "eval_refusals:refusals", text, json=True)
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


def _bold(verbs: Any, command: Command) -> None:
    """Sentiment by group, toxicity."""
    bold = command(
        verbs, "bold", "eval_bold:bold", "sentiment of continuations about groups of people (BOLD)", json=True
    )
    bold.add_argument(
        "--prompts", required=True, nargs="+", metavar="FILE", help="BOLD's prompt files, or their folder"
    )
    bold.add_argument("--model", default="", help="language model that continues the openings")
    bold.add_argument("--answers", default="", metavar="FILE", help="score these continuations, run no model")
    bold.add_argument("--limit", type=int, default=20, metavar="N", help="openings drawn from each group (0: all)")
    bold.add_argument("--max-new-tokens", type=int, default=32, metavar="N")
    bold.add_argument("--temperature", type=float, default=0.1)
    bold.add_argument("--out", default="", metavar="FILE", help="keep the continuations")
    bold.add_argument("--seed", type=int, default=0)

    text = "share of answers that a toxicity classifier of your own finds toxic"
    toxicity = command(verbs, "toxicity", "eval_bold:toxicity", text, json=True)
    toxicity.add_argument("files", nargs="+", metavar="ANSWERS")
    toxicity.add_argument("--classifier", default="", metavar="FOLDER", help="local classifier in Hugging Face layout")
    toxicity.add_argument("--label", default="", help="which of its labels means toxic")


def _truth(verbs: Any, command: Command) -> None:
    """A judge of truth."""
    judge = command(
        verbs, "truth-judge", "eval_truth:train", "train a judge of truth, measured against its floors", json=True
    )
    judge.add_argument("file", help="TruthfulQA's judge data: question, answer, what people said")
    judge.add_argument("--model", required=True, help="language model whose hidden states the judge reads")
    judge.add_argument("--out", required=True, metavar="FOLDER", help="where the judge goes, with its figures")
    judge.add_argument(
        "--rows", type=int, default=0, metavar="N", help="train on about N rows, whole questions (0: all)"
    )
    judge.add_argument("--layers", type=int, default=16, metavar="N", help="layers of the model that are run")
    judge.add_argument("--seed", type=int, default=0)

    truth = command(verbs, "truth", "eval_truth:truth", "share of answers that a trained judge calls true", json=True)
    truth.add_argument("file", metavar="ANSWERS", help="questions and answers")
    truth.add_argument("--judge", required=True, metavar="FOLDER", help="what `camelid eval truth-judge` left")
    truth.add_argument("--model", default="", help="the judge's language model, where it has moved")
