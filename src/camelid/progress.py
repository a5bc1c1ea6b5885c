"""Progress bars with time left, on stderr. Where stderr is no terminal, a line now and then instead of a bar.

How far a stage is stands in its directory too, for those who watch it from elsewhere.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS_BETWEEN_LINES = 20.0
RECORD = "progress.json"
"""What a stage is at: `what`, `done` of `total`, `first` (done when it began), `began` and `time`, since the epoch."""
SECONDS_BETWEEN_RECORDS = 1.0


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show `what` advancing from `done` to `total`; the value is called with the number of units just done."""
    if sys.stderr.isatty():
        with _bar(what, total, done) as tick:
            yield tick
    else:
        yield _lines(what, total, done)


@contextmanager
def recorded_progress(label: str, what: str, total: int, done: int, file: Path) -> Iterator[Callable[[int], None]]:
    """The same for a stage called `label`, and in `file` for others to read."""
    note = _recorder(file, what, total, done)
    with progress(f"{label}: {what}", total, done) as tick:

        def both(units: int) -> None:
            tick(units)
            note(units)

        yield both


def _recorder(file: Path, what: str, total: int, done: int) -> Callable[[int], None]:
    first, began = done, time.time()
    last = 0.0

    def note(units: int) -> None:
        nonlocal done, last
        done += units
        now = time.time()
        if now - last >= SECONDS_BETWEEN_RECORDS or done == total:
            last = now
            row = {"what": what, "total": total, "done": done, "first": first, "began": began, "time": now}
            with suppress(OSError):  # nothing depends on it
                file.write_text(json.dumps(row))

    note(0)
    return note


@contextmanager
def _bar(what: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<44}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("took"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(what, total=total, completed=done)
        yield lambda units: bars.update(task, advance=units)


def _lines(what: str, total: int, done: int) -> Callable[[int], None]:
    started = last = time.monotonic()
    first = done

    def tick(units: int) -> None:
        nonlocal done, last
        done += units
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or done == total:
            last = now
            left = (now - started) / max(done - first, 1) * (total - done)
            print(f"{what}: {done}/{total}, {left:.0f} s left", file=sys.stderr, flush=True)

    return tick
