"""Models compared by position, window by window: before and after a context was scaled and trained in, say."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from camelid.durable import read_whole_lines, write_json
from camelid.evaluate.long_context import Window, as_json, likelihoods
from camelid.functional.statistics import paired_bootstrap_difference
from camelid.runs import Run, Settings


class CompareSettings(Settings):
    """Models measured on the same windows."""

    names: tuple[str, ...] = Field(default=("before", "after"), min_length=2)
    """A name for each, in the order of the inputs; the others are compared with the first."""


def compare_positions(run: Run) -> dict[str, Any]:
    """Stage: `windows` (windows.jsonl of several models on the same windows) -> results.json."""
    s: CompareSettings = run.settings
    files = run.inputs["windows"] if isinstance(run.inputs["windows"], list) else [run.inputs["windows"]]
    measured: list[list[Window]] = [[json.loads(line) for line in read_whole_lines(file)] for file in files]
    if len(measured) != len(s.names):
        raise ValueError(f"{len(s.names)} names ({', '.join(s.names)}) for {len(measured)} files of windows")
    if len({json.dumps([_what(window) for window in windows]) for windows in measured}) > 1:
        raise ValueError("the files are not of the same windows; measure all models with the same settings and texts")
    results: dict[str, Any] = {name: {"nll": likelihoods(w)} for name, w in zip(s.names, measured, strict=True)}
    for name, windows in zip(s.names[1:], measured[1:], strict=True):
        results[name][f"minus_{s.names[0]}"] = {
            part: as_json(paired_bootstrap_difference(_means(windows, part), _means(measured[0], part)))
            for part in windows[0]["parts"]
        }
    write_json(run.path / "results.json", results)
    last = results[s.names[-1]][f"minus_{s.names[0]}"]
    return {f"{part}, {s.names[-1]} minus {s.names[0]}": estimate["value"] for part, estimate in last.items()}


def _what(window: Window) -> Any:
    """A window by its content and its parts."""
    return window["sha256"], {name: part["tokens"] for name, part in window["parts"].items()}


def _means(windows: list[Window], part: str) -> list[float]:
    return [window["parts"][part]["nats"] / window["parts"][part]["tokens"] for window in windows]
