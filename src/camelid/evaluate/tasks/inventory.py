"""How many items each benchmark and data set of a folder holds: what a loader must read before a score means much."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from camelid.evaluate.tasks.bbh import NOT_BBH
from camelid.evaluate.tasks.mmlu import read_split
from camelid.evaluate.tasks.reading import json_lines
from camelid.evaluate.tasks.registry import TASKS


def count_tasks(data: Path) -> list[dict[str, Any]]:
    """Every task with its number of items; None where its file is absent."""
    rows = []
    for task in TASKS.values():
        path = data / task.folder / task.source
        number = len(task.read(path)) if path.exists() else None
        measures = [measure.name for measure in task.measures]
        rows.append({"task": task.name, "n": number, "shots": task.shots, "measures": measures, "about": task.about})
    return rows


def count_data_sets(data: Path) -> dict[str, Any]:
    """Counts of data sets that are more than a task's file; what is absent is left out."""
    counters = {
        data / "benchmarks/mmlu": _mmlu,
        data / "benchmarks/bbh": _bbh,
        data / "safety/bold": _bold,
        data / "safety/xstest_prompts.csv": _xstest,
        data / "conversations/lima.json": lambda path: {"lima_train": len(_json(path))},
        data / "prompts/lima_test_300.jsonl": lambda path: {"lima_test": len(json_lines()(path))},
    }
    counts: dict[str, Any] = {}
    for path, counter in counters.items():
        if path.exists():
            counts |= counter(path)
    return counts


def _mmlu(folder: Path) -> dict[str, int]:
    test, dev = read_split(folder, "test"), read_split(folder, "dev")
    return {"mmlu_test": len(test), "mmlu_dev": len(dev), "mmlu_subjects": len({row["subject"] for row in test})}


def _bbh(folder: Path) -> dict[str, Any]:
    files = {path.stem: len(_json(path)["examples"]) for path in sorted(folder.glob("*.json"))}
    tasks = {name: number for name, number in files.items() if name not in NOT_BBH}
    left_out = sorted(set(files) - set(tasks))
    return {"bbh": sum(tasks.values()), "bbh_tasks": len(tasks), "bbh_folder_but_not_bbh": left_out}


def _bold(folder: Path) -> dict[str, int]:
    """Prompts, by domain, by group, by the name that they are about."""
    files = [_json(path) for path in sorted(folder.glob("*.json"))]
    return {"bold": sum(len(prompts) for file in files for group in file.values() for prompts in group.values())}


def _xstest(path: Path) -> dict[str, int]:
    with path.open(newline="", encoding="utf-8") as file:
        labels = Counter(row["label"] for row in csv.DictReader(file))
    return {f"xstest_{label}": number for label, number in sorted(labels.items())}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
