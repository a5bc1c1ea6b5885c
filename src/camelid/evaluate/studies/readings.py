"""What the cells of a study have measured: numbers in the JSON files that stages leave, brought together over runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from camelid.functional.seeds import over_folds, over_seeds
from camelid.functional.statistics import Estimate, normal


class Cell(BaseModel):
    """One run of one arm of the study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The arm; runs that differ in their seed alone have the same."""
    seed: int = 0
    parts: tuple[str, ...] = ()
    """Where several files make the cell: their names, in order, under which their contents stand in it."""


class Measure(BaseModel):
    """A number that cells have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: tuple[str, ...]
    """Keys from the outside to the number, or to the object with value, standard_error and n."""
    share: bool = False
    """Shown in percent."""
    arms: tuple[str, ...] = ()
    """Arms that have it; none named: all."""


class Curve(BaseModel):
    """A list of points that cells have, such as the best-of-N curve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: tuple[str, ...]
    """Keys to the list."""
    x: str
    y: str
    error: str = ""
    """Keys within a point; `error` is the standard error of y, where there is one."""
    arms: tuple[str, ...] = ()
    """Arms that have it; none named: all."""


def read_cells(cells: Sequence[Cell], files: Sequence[Path]) -> list[Any]:
    """The contents of each cell. Raises ValueError where there are more or fewer files than cells ask for."""
    wanted = sum(max(len(cell.parts), 1) for cell in cells)
    if wanted != len(files):
        raise ValueError(f"the study has {len(cells)} cells and {len(files)} results; the cells are made of {wanted}")
    rest = iter([json.loads(file.read_text()) for file in files])
    return [{part: next(rest) for part in cell.parts} if cell.parts else next(rest) for cell in cells]


def value_at(content: Any, path: Sequence[str], place: str) -> Any:
    """What stands at `path` in a file's content. Raises ValueError that says how far the path led."""
    for depth, key in enumerate(path):
        if not isinstance(content, Mapping) or key not in content:
            there = ", ".join(content) if isinstance(content, Mapping) else repr(content)
            raise ValueError(f"{place}: nothing at {'.'.join(path[: depth + 1])}; there is {there}")
        content = content[key]
    return content


def estimate_of(value: Any, place: str) -> Estimate:
    """An estimate as stages write them; a bare number is one whose own error is not known."""
    if isinstance(value, Mapping) and {"value", "standard_error", "n"} <= value.keys():
        error = math.inf if value["standard_error"] is None else value["standard_error"]
        return normal(value["value"], error, value["n"])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Estimate(float(value), -math.inf, math.inf, 1, math.inf)
    raise ValueError(f"{place}: {value!r} is no number and no estimate (value, standard_error, n)")


def joined(estimates: Sequence[Estimate], *, folds: bool = False) -> Estimate:
    """One arm's estimate over its runs: `over_folds`, `over_seeds`, or by their spread alone where no error is known.

    A number that is a bare one for one run has an infinite interval: nothing is known of it.
    """
    if len(estimates) == 1:
        return estimates[0]
    if all(math.isfinite(e.standard_error) for e in estimates):
        return over_folds(estimates) if folds else over_seeds(estimates)
    bare = [Estimate(e.value, e.value, e.value, e.n, 0.0) for e in estimates]
    return over_seeds(bare)._replace(n=len(estimates))


def difference(after: Sequence[Estimate], before: Sequence[Estimate], *, folds: bool = False) -> Estimate:
    """after - before of two arms, run by run where both have the same number of runs.

    Each run's two values are taken as independent, though both were measured on the same units: the true interval is
    narrower. What the seed, or the fold, itself does to both drops out.
    """
    if len(after) != len(before):
        return _less(joined(after, folds=folds), joined(before, folds=folds))
    return joined([_less(a, b) for a, b in zip(after, before, strict=True)], folds=folds)


def joined_curve(
    curves: Sequence[Sequence[tuple[float, Estimate]]], *, folds: bool = False
) -> list[tuple[float, Estimate]]:
    """Points at the x that all runs have, each joined."""
    values = [dict(curve) for curve in curves]
    shared = [x for x in values[0] if all(x in value for value in values)]
    return [(x, joined([value[x] for value in values], folds=folds)) for x in shared]


def points_of(content: Any, curve: Curve, place: str) -> list[tuple[float, Estimate]]:
    """A cell's curve. Raises ValueError for what is no list of points with these keys."""
    rows = value_at(content, curve.path, place)
    if not isinstance(rows, list):
        raise ValueError(f"{place}: {'.'.join(curve.path)} is no list of points")
    points = []
    for row in rows:
        y = estimate_of(value_at(row, (curve.y,), place), place)
        error = row.get(curve.error) if curve.error else None
        points.append((float(value_at(row, (curve.x,), place)), y if error is None else normal(y.value, error, y.n)))
    return points


def _less(a: Estimate, b: Estimate) -> Estimate:
    return normal(a.value - b.value, math.hypot(a.standard_error, b.standard_error), min(a.n, b.n))
