"""Shares as people and programs read them: in percent, with interval and n."""

from __future__ import annotations

import math
from typing import Any

from camelid.functional.statistics import Estimate


def percent(name: str, estimate: Estimate) -> dict[str, Any]:
    """A share in percent under `name`, its 95% interval and its n beside it."""
    return {
        name: 100 * estimate.value,
        f"{name}_interval": [100 * estimate.low, 100 * estimate.high],
        f"{name}_n": estimate.n,
    }


def shown(estimate: Estimate | None) -> str:
    """`97.3 [95.3, 98.4]`, in percent; nothing where there is no case."""
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]" if estimate else ""


def finite(estimate: Estimate) -> dict[str, float | None]:
    """An estimate for JSON, which knows no infinity: one value has no interval."""
    return {name: number if math.isfinite(number) else None for name, number in estimate._asdict().items()}
