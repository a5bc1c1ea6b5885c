"""A stage's metrics.jsonl, row by row, and who else is told of the rows. Imports no torch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from camelid.durable import naming_full_disk, sync_file


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
        self.rows = self._count() if observers else 0

    def append(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append a row, and its time to timing.jsonl; then tell the observers."""
        now = time.time()
        row = {"step": step, **metrics}
        for path, values in ((self.path, row), (self.path.with_name("timing.jsonl"), {"step": step, "time": now})):
            with naming_full_disk(path), path.open("a") as file:
                file.write(json.dumps(values) + "\n")
        for observer in self.observers:
            observer.row(self.rows, row, now)
        self.rows += 1

    def synced_size(self) -> int:
        """Bytes of the file, all of them on the disk; 0 where there is none."""
        if not self.path.exists():
            return 0
        sync_file(self.path)
        return self.path.stat().st_size

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes; the rows after them will be written again."""
        if self.path.exists():
            os.truncate(self.path, size)
            self.rows = self._count() if self.observers else 0

    def _count(self) -> int:
        return self.path.read_bytes().count(b"\n") if self.path.exists() else 0
