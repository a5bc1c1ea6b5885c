"""A stage's metrics.jsonl, row by row, and who else is told of the rows. Imports no torch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from camelid.durable import naming_full_disk


class Observer(Protocol):
    """Hears of each row of metrics.jsonl when it stands in the file. Must not raise."""

    def row(self, number: int, row: Mapping[str, Any], seconds: float) -> None:
        """Row `number`, from 0, written at `seconds` since the epoch. After a resume numbers come again."""

    def close(self) -> None:
        """The stage has ended, well or badly."""


class MetricsFile:
    """metrics.jsonl (no clock times, so the same after a resume) and timing.jsonl beside it."""

    def __init__(self, folder: Path, observers: Sequence[Observer] = ()):
        self.path = folder / "metrics.jsonl"
        self.observers = observers
        self._rows = self._bytes = 0

    def append(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append a row, and its time to timing.jsonl; then tell the observers."""
        now = time.time()
        row = {"step": step, **metrics}
        number = self._number() if self.observers else 0
        for path, values in ((self.path, row), (self.path.with_name("timing.jsonl"), {"step": step, "time": now})):
            with naming_full_disk(path), path.open("a") as file:
                file.write(json.dumps(values) + "\n")
        self._rows, self._bytes = number + 1, self.path.stat().st_size
        for observer in self.observers:
            observer.row(number, row, now)

    def _number(self) -> int:
        """Rows of the file, counted again where it is not as the last append left it: a resume cuts it."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size != self._bytes:
            self._rows, self._bytes = self.path.read_bytes().count(b"\n"), size
        return self._rows
