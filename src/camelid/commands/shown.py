"""Estimates as people and programs read them: `97.3 [95.3, 98.4]` in tables, plain keys in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from camelid.functional.statistics import Estimate

Given = Estimate | Mapping[str, Any] | None
"""An estimate, or one as a results.json has it; None where there is none."""


def in_units(estimate: Given, digits: int = 2, sign: str = "") -> str:
    """Value and 95% interval as they are, with `sign` "+" before what is above zero; nothing where there is none."""
    if not estimate:
        return ""
    value, low, high, *_ = _estimate(estimate)
    bounds = f"[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]" if math.isfinite(low) else "(no interval)"
    return f"{value:{sign}.{digits}f} {bounds}"


def in_percent(estimate: Given, digits: int = 1) -> str:
    """A share in percent with its interval; nothing where there is no case."""
    if not estimate:
        return ""
    return in_units(_estimate(estimate).percent, digits)


def _estimate(given: Estimate | Mapping[str, Any]) -> Estimate:
    """A bound that is not known is null in a file."""
    if isinstance(given, Estimate):
        return given
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in given.items()}
    return Estimate(**known)


def from_keys(found: Mapping[str, Any], name: str, factor: float = 1) -> str:
    """`name` and `name_interval` of a result, times `factor`."""
    value, (low, high) = found[name], found[f"{name}_interval"]
    return f"{factor * value:.1f} [{factor * low:.1f}, {factor * high:.1f}]"


def percent_keys(name: str, estimate: Estimate) -> dict[str, Any]:
    """A share in percent under `name`, its 95% interval and its n beside it."""
    percent = estimate.percent
    return {name: percent.value, f"{name}_interval": percent.interval, f"{name}_n": percent.n}
