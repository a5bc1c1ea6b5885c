"""The common shape of a benchmark file: a query, its choices, the number of the right one ("gold")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camelid.evaluate.tasks.reading import check_gold, json_lines
from camelid.evaluate.tasks.task import Question
from camelid.models.requests import Likelihood

read_queries = json_lines("query", "choices", "gold")


def ask_after(context: Callable[[str], str]) -> Callable[[int, Any], Question]:
    """A way of asking: `context` makes the text before the answer of the query; a space joins the choice to it."""

    def ask(number: int, row: Any) -> Question:
        gold = check_gold(row["gold"], len(row["choices"]), f"item {number}")
        text = context(row["query"])
        return choice_question(str(number), text, [f" {choice}" for choice in row["choices"]], gold)

    return ask


def choice_question(id: str, context: str, continuations: list[str], gold: int, **more: str) -> Question:
    """A question of which one continuation is right."""
    requests = tuple(Likelihood(context, continuation) for continuation in continuations)
    return Question(id, requests, gold, example=context + continuations[gold], **more)
