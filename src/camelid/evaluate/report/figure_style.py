"""Colours and lettering of the report's figures, once for light paper and once for dark screens.

Series colours are after Okabe and Ito's palette, darkened or lightened for contrast, and every series has a marker of
its own too. Versions are an order, not a choice, so theirs run from light to dark (dark to light on a dark screen): the
order survives every kind of colour blindness and a black-and-white printer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES_MARKERS = ("o", "s", "^", "D", "v", "P")
STAGE_MARKERS = {"start": "s", "sft": "D", "reject": "^", "ppo": "o"}


@dataclass(frozen=True)
class Theme:
    """All colours of a figure, as hexadecimal strings."""

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    series: tuple[str, ...]
    ramp: tuple[str, str, str]
    """First, middle and last colour of the versions after the start."""


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1f2328",
    muted="#6b7280",
    grid="#e5e7eb",
    series=("#0067a5", "#c8500a", "#00805a", "#a2467f", "#8f6a00", "#4a4a4a"),
    ramp=("#35a07f", "#2a6f9e", "#46237a"),
)
DARK = Theme(
    name="dark",
    paper="#1b1f24",
    ink="#e6e8eb",
    muted="#9aa3ad",
    grid="#323841",
    series=("#5ab4f0", "#ff9257", "#3ec9a0", "#e39ac8", "#e6c229", "#c9c9c9"),
    ramp=("#4a86c5", "#45c4a0", "#f2e35c"),
)
THEMES = (LIGHT, DARK)


@dataclass(frozen=True)
class Panel:
    """One figure, ready to be drawn: what a reader is told under it, what it says to those who do not see it."""

    caption: str
    alt: str
    draw: Callable[[Axes, Theme], None]


def version_colours(count: int, theme: Theme) -> list[str]:
    """A colour for each of `count` versions in order: the start in grey, the rest along the theme's ramp."""
    colours = [theme.muted]
    for i in range(count - 1):
        place = 2 * i / max(1, count - 2)  # 0 first, 1 in the middle of the ramp, 2 last
        first, second = (theme.ramp[0], theme.ramp[1]) if place <= 1 else (theme.ramp[1], theme.ramp[2])
        colours.append(_mix(first, second, place if place <= 1 else place - 1))
    return colours[:count]


def stage_marker(version: str) -> str:
    """The marker of a version by its stage: 'round-2/ppo' is a circle, whatever its round."""
    return STAGE_MARKERS.get(version.rsplit("/", 1)[-1], "P")


def settings(theme: Theme) -> dict[str, Any]:
    """matplotlib's parameters for a theme."""
    return {
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
        "font.size": 10,
        "text.parse_math": False,  # a version may be called a$b$c
        "text.color": theme.ink,
        "figure.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "axes.edgecolor": theme.muted,
        "axes.labelcolor": theme.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "legend.frameon": False,
        "legend.fontsize": 9,
    }


def _mix(first: str, second: str, share: float) -> str:
    """The colour `share` of the way from `first` to `second`."""
    pairs = ((int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
