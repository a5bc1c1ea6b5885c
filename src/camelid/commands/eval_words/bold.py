"""Sentiment by group, toxicity."""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(verbs: Any, command: Command) -> None:
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
