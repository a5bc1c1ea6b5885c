"""Refusals, violations."""

from __future__ import annotations

from typing import Any

from camelid.commands.eval_words.kinds import Command


def add(verbs: Any, command: Command) -> None:
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
