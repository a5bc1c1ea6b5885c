"""Rows of metrics.jsonl passed on, each once, through kills and resumes; a library's failure ends the writer only.

A resumed stage writes the rows after its checkpoint again. They are counted: a library that keeps what it was sent
(trackio, Weights & Biases) is not sent a row whose number it has had, and is sent those that it lacks, as when a kill
came between the file and the library, or when the writer was chosen late. One whose file we own (TensorBoard) gets a
new file with all rows instead.
"""

from __future__ import annotations

import importlib
import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from camelid.durable import write_json

FOLDER = "log-to"
"""Folder of a run that holds what its writers leave; without it, the next execution sends every row again."""


@dataclass
class Log:
    """What a library is told of the stage whose rows it gets."""

    project: str
    """Name of the run's folder."""
    place: str
    """The stage's folder in it, such as `round-1/ppo-1a2b3c4d`."""
    folder: Path
    """Where the library's files go."""
    settings: dict[str, Any]
    id: str = ""
    """Names the log at a library that keeps it, the same after a resume."""
    sent: int = 0
    """Rows that such a library has had."""


class Sink(Protocol):
    """A library's log, open. Each module beside this one has a class `Sink(log)` that is one."""

    keeps: bool
    """Whether what was sent before is still there when the log is opened again."""

    def write(self, step: int, numbers: Mapping[str, float], seconds: float) -> None: ...

    def close(self) -> None: ...


class Mirror:
    """Passes a stage's rows on to the library called `name`; opens it at the first row."""

    def __init__(self, name: str, log: Log, stage: Path):
        self.name = name
        self.log = log
        self.stage = stage
        self.mark = log.folder / f"{log.place}.json"
        self.sink: Sink | None = None
        self.failed = False

    def row(self, number: int, row: Mapping[str, Any], seconds: float) -> None:
        """Send row `number`, and before it those of the file that were never sent."""
        if self.failed:
            return
        with self._failing_alone():
            sink = self._open()
            if number > self.log.sent:
                for earlier, time in _rows(self.stage, self.log.sent, number, seconds):
                    self._send(sink, earlier, time)
            if number == self.log.sent:
                self._send(sink, row, seconds)

    def close(self) -> None:
        """Let the library finish what it was sent."""
        if self.sink is not None and not self.failed:
            with self._failing_alone():
                self.sink.close()

    def _open(self) -> Sink:
        if self.sink is None:
            module = importlib.import_module(f"camelid.writers.{self.name}")
            known = json.loads(self.mark.read_text()) if module.Sink.keeps and self.mark.exists() else {}
            self.log.id, self.log.sent = known.get("id", secrets.token_hex(4)), known.get("sent", 0)
            self.log.folder.mkdir(parents=True, exist_ok=True)
            self.sink = module.Sink(self.log)
        return self.sink

    def _send(self, sink: Sink, row: Mapping[str, Any], seconds: float) -> None:
        numbers = {k: float(v) for k, v in row.items() if k != "step" and isinstance(v, int | float)}
        sink.write(row["step"], numbers, seconds)
        self.log.sent += 1
        if sink.keeps:
            write_json(self.mark, {"id": self.log.id, "sent": self.log.sent})

    @contextmanager
    def _failing_alone(self) -> Iterator[None]:
        """Training goes on whatever a library does, and one that failed is left alone. Its talk goes to stderr."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except Exception as error:
            self.failed = True
            print(
                f"warning: --log-to {self.name} failed ({type(error).__name__}: {error}); the stage goes on "
                f"without it, {self.stage / 'metrics.jsonl'} has every row",
                file=sys.stderr,
            )


def _rows(stage: Path, start: int, stop: int, otherwise: float) -> Iterator[tuple[dict[str, Any], float]]:
    """Rows `start` to `stop` of a stage's metrics.jsonl, each with its time; `otherwise` where none was noted."""
    times: dict[int, float] = {}
    timing = stage / "timing.jsonl"
    for line in timing.read_text().splitlines() if timing.exists() else []:
        try:
            noted = json.loads(line)
        except ValueError:  # half a line that a kill left
            continue
        times[noted["step"]] = noted["time"]
    for line in (stage / "metrics.jsonl").read_text().splitlines()[start:stop]:
        row = json.loads(line)
        yield row, times.get(row["step"], otherwise)
