"""Guards of a stage (guards.jsonl): each one's newest value beside its limit, and when it was tripped.

A row is a trip: `iteration`, `guard`, `value`, `limit`, `action`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from camelid.serve.watch.curves import is_number, rounded
from camelid.serve.watch.tail import Tail

MOST_TRIPS = 200
"""Trips that a page gets, the newest."""


class Guards:
    """The guards of one stage, as far as its file is read."""

    def __init__(self, path: Path):
        self.tail = Tail(path)
        self._forget()

    def shown(self) -> dict[str, Any]:
        """Newest row of each guard with the number of its trips, and the newest trips, the last first."""
        self._read()
        guards = [{**row, "trips": self.counts.get(name, 0)} for name, row in self.newest.items()]
        return {"guards": guards, "trips": self.trips[: -MOST_TRIPS - 1 : -1], "tripped": sum(self.counts.values())}

    def _read(self) -> None:
        generation = self.tail.generation
        rows = self.tail.read()
        if self.tail.generation != generation:
            self._forget()
        for row in rows:
            shown = {
                "iteration": _number(row.get("iteration", row.get("step"))),
                "guard": str(row.get("guard", "")),
                "value": _number(row.get("value")),
                "limit": _number(row.get("limit")),
                "action": str(row.get("action", "")),
            }
            self.newest[shown["guard"]] = shown
            self.trips.append(shown)
            self.counts[shown["guard"]] = self.counts.get(shown["guard"], 0) + 1

    def _forget(self) -> None:
        self.newest: dict[str, dict[str, Any]] = {}
        self.trips: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}


def _number(value: Any) -> Any:
    return rounded(value) if is_number(value) else (None if value is None else str(value))
