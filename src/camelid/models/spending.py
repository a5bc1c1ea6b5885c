"""What requests have cost, and whether the next one may: prices and budget of a server's model."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camelid.models.completion import usage
from camelid.models.endpoint import Answer
from camelid.models.journal import Journal
from camelid.models.prices import read_price

CHARACTERS_A_TOKEN = 4
"""A usual rule of thumb for English, where nobody has counted."""


def most_tokens(body: Mapping[str, Any]) -> int | None:
    """The limit on an answer that a request carries; None where there is none."""
    limits = [body.get(name) for name in ("max_completion_tokens", "max_tokens")]
    return next((limit for limit in limits if isinstance(limit, int)), None)


class BudgetSpentError(RuntimeError):
    """The budget is spent; what is under way is still taken in."""


class Spending:
    """Tokens and dollars so far, those of the journal's earlier answers counted in.

    Raises ValueError for a budget without prices.
    """

    def __init__(self, model: str, prices: str, budget_usd: float, journal: Journal | None):
        if budget_usd and not prices:
            raise ValueError(f"a budget of {budget_usd:g} dollars needs prices: name a table, prices=FILE")
        self.price = read_price(Path(prices), model) if prices else None
        self.budget_usd = budget_usd
        self.tokens = journal.tokens() if journal else (0.0, 0.0)
        """Of prompts and of completions."""
        self._lock = threading.Lock()

    @property
    def usd(self) -> float | None:
        """None where no price is known."""
        return None if self.price is None else self.price.of(*self.tokens)

    def check(self) -> None:
        """Raise BudgetSpentError where nothing more may be asked."""
        if self.budget_usd and self.usd is not None and self.usd >= self.budget_usd:
            raise BudgetSpentError(
                f"the budget of {self.budget_usd:g} dollars is spent ({self.usd:.4f}): raise budget_usd and run again; "
                f"with a journal nothing that was answered is asked again"
            )

    def add(self, prompt_tokens: float, completion_tokens: float) -> None:
        with self._lock:
            self.tokens = self.tokens[0] + prompt_tokens, self.tokens[1] + completion_tokens

    def expected_tokens(self, data: str) -> float:
        """Of prompt and completion at their most, before a request goes out."""
        return len(data) / CHARACTERS_A_TOKEN + (most_tokens(json.loads(data)) or 0)

    def used_tokens(self, data: str, answer: Answer) -> tuple[float, float]:
        """By the server's count, or by characters; none where it did not answer."""
        if answer.status != 200:
            return 0.0, 0.0
        counted = usage(answer.body)
        return counted or (len(data) / CHARACTERS_A_TOKEN, len(answer.body) / CHARACTERS_A_TOKEN)
