"""Every number of every stage, found without knowing the stage: what looks like an estimate in its results is one.

An estimate is an object with value, low, high and n. Objects inside objects get dotted names, `tasks.arc_easy.acc`;
entries of a list are named by their `name`, `version`, `model`, `id` or `task`, else by their place. Plain numbers are
kept too, without an interval: counts of invalid replies, shots. Text and yes-or-no values are left out: no measures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from camelid.evaluate.report.sources import Manifest, read_object

RESULT_FILES = ("results.json", "accuracy.json")
"""Files of a stage that hold estimates."""
NAMING_KEYS = ("name", "version", "model", "id", "task")
PARTS = ("value", "low", "high", "n")

Measure = dict[str, Any]
"""A row of the long table: run, stage, kind, version, measure, value, low, high, n, standard_error."""


def is_estimate(value: Any) -> bool:
    """Whether a JSON value is an estimate with its interval."""
    return isinstance(value, dict) and all(part in value for part in PARTS)


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, estimate or number) of all measures inside a JSON value, in order. A null is not measured."""
    if is_estimate(value) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield name, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from flatten(part, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and all(isinstance(part, dict) for part in value):
        taken: set[str] = set()
        for place, part in enumerate(value):
            named = next((part[key] for key in NAMING_KEYS if isinstance(part.get(key), str)), str(place))
            named = f"{named}.{place}" if named in taken else named
            taken.add(named)
            yield from flatten(part, f"{name}.{named}" if name else named)


def stage_measures(run: str, path: Path, manifest: Manifest, versions: dict[str, str], own: str = "") -> list[Measure]:
    """The rows of one stage. `versions` names the version whose model has a given SHA-256, `own` that of the stage.

    Raises ValueError for an estimate whose parts are no numbers.
    """
    rows = []
    for file in (path / name for name in RESULT_FILES if (path / name).exists()):
        results = read_object(file)
        about = {
            "run": run,
            "version": own or version_of(results, manifest, versions),
            "stage": manifest["stage"],
            "kind": manifest["function"],
        }
        rows += [about | {"measure": name} | _parts(value, name, file) for name, value in flatten(results)]
    return rows


def version_of(results: dict[str, Any], manifest: Manifest, versions: dict[str, str]) -> str:
    """The version that results are of: as they say, else the one with the stage's model, else the stage's name.

    A stage that leaves a model of its own has measured that one, not the one that it began with.
    """
    named = results.get("version")
    if isinstance(named, str):
        return named
    trains = any(name.startswith("model/") for name in manifest["outputs"])
    model = {} if trains else manifest["inputs"].get("model") or {}
    return versions.get(model.get("sha256", ""), str(manifest["stage"]))


def _parts(value: Any, name: str, file: Path) -> dict[str, Any]:
    parts = {part: value[part] for part in PARTS} if is_estimate(value) else {"value": value}
    for part, number in parts.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or math.isnan(number):
            raise ValueError(f"{file}: {name} has {part} {number!r}, which is no number")
    error = value.get("standard_error") if is_estimate(value) else None
    return {part: parts.get(part) for part in PARTS} | {"standard_error": error}
