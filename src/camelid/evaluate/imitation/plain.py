"""Estimates as plain values for JSON, which has no infinity: a bound that is not known is null."""

from __future__ import annotations

import math
from typing import Any

from camelid.functional.statistics import Estimate


def plain(value: Any, factor: float = 1.0) -> Any:
    """An estimate as an object with value, low, high, n, standard_error, times `factor`; inside dictionaries too."""
    if isinstance(value, dict):
        return {name: plain(inner, factor) for name, inner in value.items()}
    if not isinstance(value, Estimate):
        return value
    numbers = {name: number if name == "n" else factor * number for name, number in value._asdict().items()}
    return {name: number if math.isfinite(number) else None for name, number in numbers.items()}


def percent(value: Any) -> Any:
    """A share, or a dictionary of shares, in percent."""
    return plain(value, 100.0)
