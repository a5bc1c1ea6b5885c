"""What judging costs, before and after: requests, tokens, money. No price is known here; the user brings a table.

Before, prompt tokens are characters / 4 (a usual rule of thumb for English) unless a tokenizer counts them, and
completion tokens are bounded by the most that a reply may have. After, both are what the server counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from camelid.models.prices import Price
from camelid.models.remote import RemoteSettings
from camelid.models.spending import CHARACTERS_A_TOKEN, most_tokens
from camelid.types import Messages

Count = Callable[[Messages], int]


@dataclass(frozen=True)
class Cost:
    """Requests and their tokens."""

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


def expected_cost(asked: Iterable[Messages], remote: RemoteSettings, count: Count = estimate_tokens) -> Cost:
    """An estimate of the prompts and the most that the replies can have."""
    sizes, most = [count(messages) for messages in asked], most_completion_tokens(remote)
    return Cost(len(sizes), sum(sizes), None if most is None else len(sizes) * most)


def most_completion_tokens(remote: RemoteSettings) -> int | None:
    """The limit on a reply that the request will carry; None where `extra` has removed it."""
    return most_tokens({"max_tokens": remote.max_tokens} | remote.extra)


def actual_cost(rows: Sequence[dict[str, Any]]) -> Cost:
    """What the rows of a journal used, by the server's count."""
    used = [row["usage"] for row in rows if row["usage"]]
    requests, uncounted = sum(row["attempts"] for row in rows), sum(not row["rejected"] for row in rows) - len(used)
    if not used:
        return Cost(requests, None, None, uncounted)
    prompt, completion = (sum(usage[f"{part}_tokens"] for usage in used) for part in ("prompt", "completion"))
    return Cost(requests, prompt, completion, uncounted)
