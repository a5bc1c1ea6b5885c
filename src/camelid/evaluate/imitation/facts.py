"""Facts: accuracies on benchmarks, read from the result files of earlier evaluations, and their mean over tasks.

A result file is a JSON object of tasks, each with `acc` (or another of `METRICS`) as an estimate: value, low, high, n,
standard_error, in [0, 1]. A folder stands for its results.json.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from camelid.functional.statistics import Z95, Estimate

METRICS = ("acc", "exact_match", "acc_norm", "mc2")
"""What counts as a task's accuracy, first one first."""

Facts = dict[str, Estimate]


def read_facts(path: str | Path) -> Facts:
    """Accuracy by task. Raises ValueError where a file holds none, or one that is no share."""
    path = Path(path)
    file = path / "results.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} has no results.json; give the folder of a benchmark evaluation or its file") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}, line {error.lineno}: broken JSON: {error.msg}") from None
    tasks = content.get("tasks", content) if isinstance(content, dict) else {}
    facts = {name: _accuracy(file, name, task) for name, task in tasks.items() if _metric(task)}
    if not facts:
        raise ValueError(f'{file} has no accuracies: need {{"task": {{"acc": {{"value": 0.41, ...}}}}}}')
    return facts


def mean_accuracy(facts: Mapping[str, Estimate], tasks: Iterable[str]) -> Estimate:
    """Mean accuracy over `tasks`, each weighing the same; n is the number of items in all.

    The tasks' items are independent, so SE = sqrt(sum SE_k^2) / K, and the interval is value -+ 1.96 SE inside [0, 1].
    """
    chosen = [facts[task] for task in tasks]
    if not chosen:
        raise ValueError("no task to average over")
    value = sum(e.value for e in chosen) / len(chosen)
    error = math.sqrt(sum(e.standard_error**2 for e in chosen)) / len(chosen)
    n = sum(e.n for e in chosen)
    return Estimate(value, max(0.0, value - Z95 * error), min(1.0, value + Z95 * error), n, error)


def less(after: Estimate, before: Estimate) -> Estimate:
    """after - before of two estimates taken as independent: SE^2 = SE_1^2 + SE_2^2."""
    value, error = after.value - before.value, math.hypot(after.standard_error, before.standard_error)
    return Estimate(value, value - Z95 * error, value + Z95 * error, min(after.n, before.n), error)


def _metric(task: Any) -> str | None:
    return next((metric for metric in METRICS if isinstance(task, dict) and metric in task), None)


def _accuracy(file: Path, name: str, task: dict[str, Any]) -> Estimate:
    metric = _metric(task) or ""
    try:
        estimate = Estimate(**{field: task[metric][field] for field in Estimate._fields})
    except (KeyError, TypeError):
        raise ValueError(
            f"{file}, task {name!r}: {metric} is no estimate; need {', '.join(Estimate._fields)}"
        ) from None
    if not 0 <= estimate.value <= 1:
        raise ValueError(f"{file}, task {name!r}: {metric} = {estimate.value}; accuracies are shares from 0 to 1")
    return estimate
