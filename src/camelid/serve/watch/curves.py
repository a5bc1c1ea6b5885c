"""The numbers of a stage's metrics.jsonl as curves that fit a picture, and what of them is new to a page.

A page says how many rows it has seen; it gets the buckets (`functional/envelope.py`) that those after them touch.
"""

from __future__ import annotations

import math
import secrets
from array import array
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path
from typing import Any

from camelid.functional.envelope import bucket_size, envelope
from camelid.serve.watch.groups import group
from camelid.serve.watch.tail import Tail

DIGITS = 7
"""Significant digits that a page gets."""


class Series:
    """One name's values, with their steps and the numbers of their rows."""

    def __init__(self) -> None:
        self.rows, self.steps, self.values = array("q"), array("d"), array("d")
        self.bad = 0
        self.first_bad: float | None = None

    def append(self, row: int, step: float, value: float) -> None:
        self.rows.append(row)
        self.steps.append(step)
        self.values.append(value)
        if not math.isfinite(value):
            self.bad += 1
            self.first_bad = step if self.first_bad is None else self.first_bad

    def since(self, seen: int, most: int) -> dict[str, Any] | None:
        """Buckets that rows from number `seen` on touch, where `from` is the first one's number; None: no such row.

        Where buckets have grown since, all of them, from 0.
        """
        had = bisect_left(self.rows, seen)
        if had == len(self.rows):
            return None
        size = bucket_size(len(self.rows), most)
        start = had // size if size == bucket_size(had, most) else 0
        place = start * size
        found = envelope(self.values[place:], size)
        shown = {
            "size": size,
            "from": start,
            "step": list(self.steps[place::size]),
            "mean": [rounded(value) for value in found.mean],
            "last": [self.steps[-1], rounded(self.values[-1])],
            "bad": self.bad,
            "first_bad": self.first_bad,
        }
        if size > 1:
            shown |= {"low": [rounded(v) for v in found.low], "high": [rounded(v) for v in found.high]}
        return shown


class Curves:
    """All series of one metrics.jsonl, as far as it is read."""

    def __init__(self, path: Path):
        self.tail = Tail(path)
        self.token = secrets.token_hex(4)  # of this process: a page from before does not go on here
        self._forget()

    def since(self, cursor: str, most: int) -> dict[str, Any]:
        """What a page that holds `cursor` lacks, and its next cursor; `new`: it must drop what it has."""
        self._read()
        generation, _, rows = cursor.rpartition(".")
        current = f"{self.token}-{self.tail.generation}"
        known = generation == current and rows.isdecimal() and int(rows) <= self.rows
        seen = int(rows) if known else 0
        lacking = ((name, series.since(seen, most)) for name, series in self.series.items())
        return {
            "cursor": f"{current}.{self.rows}",
            "new": not known,
            "rows": self.rows,
            "broken": self.tail.broken,
            "series": [{"name": name, "group": group(name), **part} for name, part in lacking if part],
        }

    def _read(self) -> None:
        while True:
            generation = self.tail.generation
            new = self.tail.read()
            if self.tail.generation != generation:
                self._forget()
            if not new:
                return
            for row in new:
                self._add(row)

    def _add(self, row: dict[str, Any]) -> None:
        step = row.get("step", self.rows)
        if is_number(step) and math.isfinite(step):
            for name, value in row.items():
                if name != "step" and is_number(value):
                    self.series[name].append(self.rows, step, value)
        self.rows += 1

    def _forget(self) -> None:
        self.series: defaultdict[str, Series] = defaultdict(Series)
        self.rows = 0


def is_number(value: object) -> bool:
    """A JSON number that a float can hold, NaN and Infinity among them."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300)


def rounded(value: float) -> float | None:
    """As a page gets it: JSON knows no NaN and no infinity."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
