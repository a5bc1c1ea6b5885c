"""A circuit breaker: what holds all requests back from a server that answers nobody, and tries it now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """Opens after `most` failed attempts in a row, from whatever threads; then one request at a time tries the server.

    The wait before a trial is `seconds` at first and doubles with each that fails, up to `longest`. One answer closes
    it.
    """

    def __init__(self, most: int, seconds: float, longest: float, now: Callable[[], float] = time.monotonic):
        self.most, self.seconds, self.longest = most, seconds, longest
        self._now, self._lock = now, threading.Lock()
        self.trials = 0
        """Trials since its last answer that failed."""
        self._failed = 0
        self._until = 0.0
        self._is_tried = False

    def wait(self) -> float:
        """Seconds before this thread may ask again whether it may go; 0: it may go, and where the breaker is open it
        is the one that tries."""
        with self._lock:
            if self._failed < self.most:
                return 0.0
            now = self._now()
            if now < self._until:
                return self._until - now
            self._until, self._is_tried = now + self._pause(), True
            return 0.0

    def failed(self) -> None:
        """The server was not there: no connection, no answer, or 5xx."""
        with self._lock:
            self._failed += 1
            if self._failed == self.most or (self._failed > self.most and self._is_tried):
                self.trials += self._is_tried
                self._until, self._is_tried = self._now() + self._pause(), False

    def worked(self) -> None:
        """The server was there, whatever it said."""
        with self._lock:
            self._failed = self.trials = 0
            self._is_tried = False

    def _pause(self) -> float:
        return min(self.seconds * 2**self.trials, self.longest)
