"""What asking a server will cost, before anything is asked: requests, tokens, money, time. Imports no torch.

Of the server only its settings are known. So money is known where there is a table of prices, and time where the server
has a limit of requests or tokens a minute: at that pace, if its answers come fast enough for as many requests at once
as may be under way. What is not known is NaN. Left out: requests that must be repeated, and what a journal has already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from camelid.models.pace import seconds_at_limits
from camelid.models.prices import read_price
from camelid.models.server import ServerSettings
from camelid.models.spending import most_tokens


@dataclass(frozen=True)
class ServerCost:
    """Of one server, or of several added up."""

    requests: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    """The most that there can be."""
    usd: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: ServerCost) -> ServerCost:
        """One asked after the other."""
        return ServerCost(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.usd + other.usd,
            self.seconds + other.seconds,
        )

    def slowest_answer(self, concurrency: int) -> float:
        """Seconds that an answer may take, in the mean, for so many requests at once to keep to the limit's pace."""
        return concurrency * self.seconds / self.requests if self.requests else math.inf


def server_cost(settings: ServerSettings, requests: float, prompt_tokens: float, max_tokens: int) -> ServerCost:
    """Of `requests` with `prompt_tokens` in all, each with the limit `max_tokens` unless `extra` takes it out.

    Raises ValueError for a model that the table of prices has not.
    """
    most = most_tokens({"max_tokens": max_tokens} | settings.extra)
    completion_tokens = math.nan if most is None else requests * most
    price = read_price(Path(settings.prices), settings.model) if settings.prices else None
    return ServerCost(
        requests,
        prompt_tokens,
        completion_tokens,
        math.nan if price is None else price.of(prompt_tokens, completion_tokens),
        seconds_at_limits(
            requests,
            prompt_tokens + completion_tokens,
            requests_a_minute=settings.requests_per_minute,
            tokens_a_minute=settings.tokens_per_minute,
        ),
    )
