"""`camelid runs`: what was run, and what came out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from camelid.commands import print_json, say
from camelid.runs import list_runs, read_manifest, read_run
from camelid.table import print_table, shown_bytes, shown_seconds

SHOWN_METRICS = 4
POLICY_STAGES = ("train_sft", "train_ppo", "train_policy_gradient", "train_online_dpo", "train_expert_iteration")
"""Functions that leave a language model, by the end of their names."""


def list_all(arguments: argparse.Namespace) -> int:
    """Runs below a folder, newest first."""
    folder = Path(arguments.folder)
    stages = {root: [read_manifest(path) for path in read_run(root).values()] for root in list_runs(folder)}
    rows = [
        {"run": str(root), "stages": len(found), "finished": len(found) - found.count(None)}
        for root, found in stages.items()
    ]
    if arguments.json:
        print_json(rows)
    elif rows:
        columns = ("run", "stages", "finished")
        print_table(columns, [[str(value) for value in row.values()] for row in rows], right=columns[1:])
    else:
        say(f"no runs below {folder}")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """The stages of a run with their time, memory and first measures."""
    stages = {name: (path, read_manifest(path)) for name, path in read_run(Path(arguments.run)).items()}
    if arguments.json:
        print_json({name: manifest for name, (_, manifest) in stages.items()})
        return 0
    columns = ("stage", "time", "memory", "measured", "folder")
    rows = [[name, *_described(manifest), path.name] for name, (path, manifest) in stages.items()]
    print_table(columns, rows, right=("time", "memory"))
    return 0


def newest_model(root: Path) -> Path | None:
    """The model that the last finished training stage of a run has left."""
    for path in reversed(read_run(root).values()):
        manifest = read_manifest(path)
        if manifest and manifest["function"].endswith(POLICY_STAGES):
            return path / "model"
    return None


def _described(manifest: dict[str, Any] | None) -> tuple[str, str, str]:
    """Time, memory and measures of a stage, for people."""
    if manifest is None:
        return "unfinished", "", ""
    metrics = {k: v for k, v in manifest["metrics"].items() if isinstance(v, int | float)}
    shown = ", ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:SHOWN_METRICS])
    return shown_seconds(manifest["seconds"]), shown_bytes(manifest["peak_memory_bytes"]), shown
