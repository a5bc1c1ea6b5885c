"""Facts: accuracies on benchmarks, read from the result files of earlier evaluations, and their mean over tasks.

A result file is what the stage `evaluate_task` leaves (one task, its measures in percent), or a JSON object of tasks,
each with `acc` as an estimate (value, low, high, n, standard_error) in [0, 1]. A folder stands for its results.json or,
where it has none, for those of the folders in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camelid.functional.statistics import Z95, Estimate

Facts = dict[str, Estimate]
Scores = Mapping[str, float]
"""Of one task: 1 or 0 by item's id."""


def read_facts(path: str | Path) -> Facts:
    """Accuracy by task. Raises ValueError where a file holds none, or one that is no share."""
    path = Path(path)
    files = [path]
    if path.is_dir():
        files = [path / "results.json"] if (path / "results.json").exists() else sorted(path.glob("*/results.json"))
    facts = {name: estimate for file in files for name, estimate in _read(file).items()}
    if not facts:
        raise ValueError(f"{path} holds no results.json of a benchmark, nor does any folder in it")
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


def paired_change(
    after: Sequence[Mapping[str, Scores]], before: Mapping[str, Scores], tasks: Sequence[str]
) -> Estimate:
    """Change of the mean accuracy over `tasks` from one model to several that differ in their seed, item by item.

        change = mean over tasks of mean over items of (mean over seeds of the score after - the score before)
        SE^2 = sum over tasks (var(item changes) / n) / K^2 + var over seeds (change) / seeds

    What makes an item hard for both drops out. Scores by item's id; all models were asked the same items.
    """
    value, item_variance, n = 0.0, 0.0, 0
    by_seed = [0.0] * len(after)
    for task in tasks:
        ids = list(before[task])
        changes = np.array([[scores[task][id] - before[task][id] for id in ids] for scores in after])  # (seeds, items)
        value += changes.mean() / len(tasks)
        item_variance += changes.mean(0).var(ddof=1) / len(ids) / len(tasks) ** 2
        by_seed = [so_far + row.mean() / len(tasks) for so_far, row in zip(by_seed, changes, strict=True)]
        n += len(ids)
    seed_variance = float(np.var(by_seed, ddof=1)) / len(after) if len(after) > 1 else 0.0
    error = math.sqrt(item_variance + seed_variance)
    return Estimate(float(value), float(value - Z95 * error), float(value + Z95 * error), n, error)


def _read(file: Path) -> Facts:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"no result file {file}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}, line {error.lineno}: broken JSON: {error.msg}") from None
    if isinstance(content, dict) and {"task", "headline", "measures"} <= content.keys():
        measure = content["measures"].get(content["headline"], {})
        if measure.get("unit") != "%":
            raise ValueError(f"{file}: {content['task']} has no accuracy: its headline is {content['headline']}")
        return {content["task"]: _estimate(file, content["task"], measure, 100)}
    tasks = content if isinstance(content, dict) else {}
    facts = {
        k: _estimate(file, k, task["acc"], 1) for k, task in tasks.items() if isinstance(task, dict) and "acc" in task
    }
    if not facts:
        raise ValueError(f'{file} has no accuracies: need {{"task": {{"acc": {{"value": 0.41, ...}}}}}}')
    return facts


def _estimate(file: Path, task: str, measure: Any, factor: float) -> Estimate:
    try:
        numbers = {name: measure[name] / (1 if name == "n" else factor) for name in Estimate._fields}
    except (KeyError, TypeError):
        raise ValueError(f"{file}, task {task!r}: no estimate; need {', '.join(Estimate._fields)}") from None
    if not 0 <= numbers["value"] <= 1:
        raise ValueError(f"{file}, task {task!r}: acc = {numbers['value']}; accuracies are shares from 0 to 1")
    return Estimate(**numbers | {"n": int(numbers["n"])})
