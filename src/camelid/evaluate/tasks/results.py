"""What comes of a benchmark: every measure with its interval, from the records of its questions."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.durable import read_whole_lines
from camelid.evaluate.tasks.memory import Seen
from camelid.evaluate.tasks.shots import Shots
from camelid.evaluate.tasks.task import Measure, Task


def read_records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read_whole_lines(path)]


def summarise(task: Task, records: Sequence[dict[str, Any]], shots: Shots, seen: Seen | None = None) -> dict[str, Any]:
    """Every measure with its interval, over all questions and by group where there are several; the headline also over
    the questions that did not stand in the training files."""
    groups = sorted({r["group"] for r in records})
    by_group = {g: _measure(task.measures[0], [r for r in records if r["group"] == g]) for g in groups}
    return {
        "task": task.name,
        "n": len(records),
        "shots": shots.number,
        "shots_from": shots.source,
        "headline": task.headline,
        "rule": task.rule,
        "measures": {m.name: _measure(m, records) for m in task.measures if len(records[0]["answers"]) >= m.samples},
        "by_group": by_group if len(groups) > 1 else {},
        "checked": _checked(records),
        "contamination": seen and _contamination(task, records, *seen),
    }


def _checked(records: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """How many questions float32 answered, and by how much the other answers may be off, in nats."""
    off_by = [r["off_by"] for r in records if "off_by" in r]
    return {"in_float32": off_by.count(0), "most_off_by": max(off_by)} if off_by else None


def _contamination(
    task: Task, records: Sequence[dict[str, Any]], described: dict[str, Any], dirty: set[int]
) -> dict[str, Any]:
    clean = [r for i, r in enumerate(records) if i not in dirty]
    measure = next(m for m in task.measures if m.name == task.headline)
    return described | {f"{task.headline}_without_dirty": _measure(measure, clean) if clean else None}


def _measure(measure: Measure, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares in percent; bounds that are not known are null."""
    estimate = measure.estimate([{**r["scores"], "group": r["group"]} for r in records])
    factor = 100 if measure.unit == "%" else 1
    numbers = {
        "value": factor * estimate.value,
        "low": factor * estimate.low,
        "high": factor * estimate.high,
        "standard_error": factor * estimate.standard_error,
    }
    known = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {**known, "n": estimate.n, "unit": measure.unit}
