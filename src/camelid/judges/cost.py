"""What judging costs, before and after: requests, tokens, money. No price is known here; the user brings a table.

Before, prompt tokens are characters / 4 (a usual rule of thumb for English) unless a tokenizer counts them, and
completion tokens are bounded by the most that a reply may have (`models/server_cost.py`). After, both are what the
server counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from camelid.models.prices import Price
from camelid.models.remote import RemoteSettings
from camelid.models.server_cost import ServerCost, server_cost
from camelid.models.spending import CHARACTERS_A_TOKEN
from camelid.types import Messages

Count = Callable[[Messages], int]


@dataclass(frozen=True)
class Cost:
    """Requests and their tokens, after."""

    requests: int
    prompt_tokens: int | None
    """None where nobody counted them."""
    completion_tokens: int | None
    replies_without_count: int = 0
    """Replies for which the server gave no count; their tokens are missing in the sums."""

    def usd(self, price: Price | None) -> float | None:
        """Dollars; None where the price or the tokens are not known."""
        if price is None or self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return price.of(self.prompt_tokens, self.completion_tokens)


def estimate_tokens(messages: Messages) -> int:
    """Characters / 4, rounded up."""
    return -(-sum(len(m.content) for m in messages) // CHARACTERS_A_TOKEN)


def expected_cost(asked: Iterable[Messages], remote: RemoteSettings, count: Count = estimate_tokens) -> ServerCost:
    """An estimate of the prompts and the most that the replies can have."""
    sizes = [count(messages) for messages in asked]
    return server_cost(remote, len(sizes), sum(sizes), remote.max_tokens)


def actual_cost(rows: Sequence[dict[str, Any]]) -> Cost:
    """What the rows of a journal used, by the server's count."""
    used = [row["usage"] for row in rows if row["usage"]]
    requests, uncounted = sum(row["attempts"] for row in rows), sum(not row["rejected"] for row in rows) - len(used)
    if not used:
        return Cost(requests, None, None, uncounted)
    prompt, completion = (sum(usage[f"{part}_tokens"] for usage in used) for part in ("prompt", "completion"))
    return Cost(requests, prompt, completion, uncounted)
