"""A judge of truth."""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(verbs: Any, command: Command) -> None:
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
