"""How the report prints numbers: an estimate is never shown without its interval, and its n is never far.

An estimate is a dictionary with value, low, high (a 95% interval), n and standard_error. It may be None (not measured)
and its interval may be infinite (one observation says nothing of the spread).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Estimate = dict[str, Any]

ABSENT = "–"
"""Stands where nothing was measured."""


@dataclass(frozen=True)
class Scale:
    """How a kind of number is printed: multiplied by `factor`, followed by `suffix`."""

    factor: float = 1.0
    suffix: str = ""


SHARE = Scale(100.0, "%")
PLAIN = Scale()


@dataclass(frozen=True)
class Cell:
    """One field of a table. `order` is what it is sorted by; None sorts last."""

    text: str = ABSENT
    hover: str = ""
    order: float | str | None = None


def decimals(half_width: float) -> int:
    """Decimals that a value deserves: the rounding error stays below a quarter of the interval's half-width.

    0 from 2 upwards, 1 from 0.2, 2 from 0.02, then 3. Without a usable width (0, infinite, NaN): 1.
    """
    if not math.isfinite(half_width) or half_width <= 0:
        return 1
    return min(3, max(0, math.ceil(math.log10(2 / half_width))))


def number(value: float, places: int, scale: Scale = PLAIN, *, signed: bool = False) -> str:
    """`value` in print, with a true minus sign; infinities as the sign of infinity."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value * scale.factor:{'+' if signed else ''}.{places}f}"
    if float(text) == 0:
        text = text.lstrip("+-")  # a rounded zero has no sign
    return text.replace("-", "−") + scale.suffix


def half_width(estimate: Estimate, scale: Scale = PLAIN) -> float:
    """Half of the interval's width, in printed units."""
    return scale.factor * (estimate["high"] - estimate["low"]) / 2


def value_text(estimate: Estimate, scale: Scale) -> str:
    """The value alone, rounded as its interval allows."""
    return number(estimate["value"], decimals(half_width(estimate, scale)), scale)


def interval_text(estimate: Estimate, scale: Scale) -> str:
    """'55% to 67%'."""
    places = decimals(half_width(estimate, scale))
    return f"{number(estimate['low'], places, scale)} to {number(estimate['high'], places, scale)}"


def full_text(estimate: Estimate, scale: Scale) -> str:
    """Value, interval and n in words, with one decimal more than `value_text`."""
    places = decimals(half_width(estimate, scale)) + 1
    value, low, high = (number(estimate[key], places, scale) for key in ("value", "low", "high"))
    return f"{value}, 95% interval {low} to {high}, n = {estimate['n']}"


def estimate_cell(estimate: Estimate | None, scale: Scale) -> Cell:
    """'61 ± 6', without the unit, which stands in the column's head; the exact interval and n on hover."""
    if estimate is None:
        return Cell(hover="not measured")
    width = half_width(estimate, scale)
    places = decimals(width)
    value = number(estimate["value"], places, Scale(scale.factor))
    width_text = number(width, places) if math.isfinite(width) else "unknown"
    return Cell(f"{value} ± {width_text}", full_text(estimate, scale), estimate["value"])


def number_cell(value: float | None, places: int) -> Cell:
    """A number that has no interval."""
    return Cell(hover="not measured") if value is None else Cell(number(value, places), order=value)


def sample_sizes(estimates: Iterable[Estimate | None]) -> str:
    """'n = 240', or 'n = 236–240' where they differ, or nothing where nothing was measured."""
    sizes = sorted({estimate["n"] for estimate in estimates if estimate is not None})
    if not sizes:
        return ""
    return f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]}–{sizes[-1]}"


def duration_text(seconds: float) -> str:
    """'43 s', '2 min 05 s', '3 h 07 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def memory_text(num_bytes: float) -> str:
    """Decimal megabytes or gigabytes."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def exact_text(value: float | None) -> str:
    """A number to four digits without a scale, a whole one whole; nothing for None."""
    if value is None:
        return ""
    return str(int(value)) if math.isfinite(value) and float(value).is_integer() else f"{value:.4g}"
