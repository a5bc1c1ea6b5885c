"""Rates of a machine that does every kind of work at one speed, for plans that measure nothing."""

from __future__ import annotations

from camelid.models.devices import Rates

KINDS = ("full", "adapters", "scoring")


def even_rates(speed: float, fixed_rows: float = 0.0) -> Rates:
    """`speed`: operations a second. A decoding step takes as long as so many rows more would."""
    operations = dict.fromkeys([*KINDS, *(f"{kind} head" for kind in KINDS), "attention"], speed)
    row = 2 / speed
    return Rates(operations, {}, fixed_rows * row, row, fixed_rows * row, row)
