"""Result files that tables and figures know by name are checked when they are read, so that an error names the file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camelid.evaluate.report.measures import is_estimate
from camelid.evaluate.report.page_measures import QUALITY_MEASURES, REWARD_MEASURES, SHAPE_MEASURES, Measure


def check_version(results: dict[str, Any], file: Path) -> None:
    """Raise ValueError where the results of a version are not what the page takes."""
    if not isinstance(results.get("version"), str):
        raise ValueError(f"{file}: no 'version', the name of what was evaluated")
    _check_measures(results, (*QUALITY_MEASURES, *SHAPE_MEASURES), file)
    _check_nested(results, "refusals_by_source", file)


def check_reward(results: dict[str, Any], file: Path) -> dict[str, Any]:
    """The results of a reward model, if they are what the page takes."""
    _check_measures(results, REWARD_MEASURES, file)
    _check_nested(results, "by_rating", file)
    return results


def check_points(rows: Any, keys: Sequence[str], file: Path) -> list[dict[str, Any]]:
    """The points of a curve, if each has a number under every key."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{file}: the points of a curve are a list of objects")
    for number, row in enumerate(rows, 1):
        missing = [key for key in keys if not is_number(row.get(key))]
        if missing:
            raise ValueError(f"{file}: point {number} has no number for {', '.join(missing)}")
    return rows


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; NaN is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _check_measures(results: dict[str, Any], measures: Sequence[Measure], file: Path) -> None:
    for measure in measures:
        try:
            value = measure.take(results)
        except AttributeError:
            raise ValueError(f"{file}: {measure.name} lies in an object, this is none") from None
        good = is_estimate(value) if measure.scale else is_number(value)
        if value is not None and not good:
            wanted = "an estimate with value, low, high and n" if measure.scale else "a number"
            raise ValueError(f"{file}: {measure.name} is {value!r}, not {wanted}")


def _check_nested(results: dict[str, Any], key: str, file: Path) -> None:
    """`results[key]`, if it is there, is objects of objects of estimates."""
    outer = results.get(key) or {}
    inner = list(outer.values()) if isinstance(outer, dict) else [outer]
    if not all(isinstance(part, dict) and all(map(_is_estimate_or_none, part.values())) for part in inner):
        raise ValueError(f"{file}: {key} is wanted as objects of objects of estimates, this is something else")


def _is_estimate_or_none(value: Any) -> bool:
    return value is None or is_estimate(value)
