"""When a request may go out: so many a minute, so many tokens a minute, and never while the server asks for a pause."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

KEPT = 0.98
"""Share of a limit that is used: the server's clock is not ours."""


def seconds_at_limits(requests: float, tokens: float, *, requests_a_minute: float, tokens_a_minute: float) -> float:
    """How long so many requests with so many tokens in all take at `Pace`. NaN without a limit, which is one of 0.

    Tokens count as they are used: what a request takes a place for and does not use is given back.
    """
    minutes = [amount / limit for amount, limit in ((requests, requests_a_minute), (tokens, tokens_a_minute)) if limit]
    if not minutes or any(map(math.isnan, minutes)):
        return math.nan
    return 60 * max(minutes) / KEPT


class Pace:
    """Requests one after another at even distances, whatever thread they come from. A limit of 0 is none.

    Even distances rather than a full bucket at the start: a server that counts by the minute sees no more than the
    limit in any minute.
    """

    def __init__(self, requests_a_minute: float, tokens_a_minute: float, now: Callable[[], float] = time.monotonic):
        self.seconds_a_request = 60 / (KEPT * requests_a_minute) if requests_a_minute else 0.0
        self.seconds_a_token = 60 / (KEPT * tokens_a_minute) if tokens_a_minute else 0.0
        self._now, self._lock = now, threading.Lock()
        self._next_request = self._next_token = self._pause_until = now()

    def place(self, tokens: float) -> float:
        """Take a place for a request of so many tokens. Returns the seconds to wait until it may go out."""
        with self._lock:
            now = self._now()
            at = max(now, self._next_request, self._next_token, self._pause_until)
            self._next_request = at + self.seconds_a_request
            self._next_token = max(now, self._next_token) + tokens * self.seconds_a_token
            return at - now

    def settle(self, taken: float, used: float) -> None:
        """A request that took a place for `taken` tokens has used so many: the rest is given back."""
        with self._lock:
            self._next_token -= (taken - used) * self.seconds_a_token

    def pause(self, seconds: float) -> None:
        """Let nothing go out for so long, from any thread."""
        with self._lock:
            self._pause_until = max(self._pause_until, self._now() + seconds)
