"""Files of a JSON object a line that others append to, read bit by bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

REMEMBERED = 256
"""Bytes before the place where reading stopped that must be the same next time."""
MOST_AT_ONCE = 2**22
"""Bytes taken in one go; the rest comes with the next."""


class Tail:
    """Reads what was appended since last time, whole lines only.

    A file that was cut (a stage was resumed), replaced or removed is read again from its start: it is shorter than
    what was read, or the bytes before the place are others. A line that is no JSON object is counted and passed over.
    """

    def __init__(self, path: Path):
        self.path = path
        self.generation = 0
        """Times that the file was begun anew; what was read in an earlier generation does not count."""
        self.broken = 0
        self._place = 0
        self._before = b""

    def read(self) -> list[dict[str, Any]]:
        """New rows; where `generation` has changed, all rows."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._place - len(self._before))
                if file.read(len(self._before)) != self._before:
                    self._begin_anew()
                file.seek(self._place)
                new = file.read(MOST_AT_ONCE)
        except FileNotFoundError:
            if self._place:
                self._begin_anew()
            return []
        whole = new[: new.rfind(b"\n") + 1]  # what stands after the last newline is being written
        self._place += len(whole)
        self._before = (self._before + whole)[-REMEMBERED:]
        rows = [parsed(line) for line in whole.split(b"\n") if line.strip()]
        self.broken += rows.count(None)
        return [row for row in rows if row is not None]

    def _begin_anew(self) -> None:
        self.generation += 1
        self.broken = self._place = 0
        self._before = b""


def parsed(line: bytes) -> dict[str, Any] | None:
    """The object of a line; None where it holds none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
