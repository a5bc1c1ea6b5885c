"""The figure that tells style from knowledge: how like the teacher a model writes (across), what it knows (up).

Points of a group (a size of start model, say) are joined in order, so that a row of amounts of imitation data shows as
a path: along the floor where only style was learnt, upwards where facts were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from camelid.evaluate.report.figure_path import Point, Span, limits, name_points
from camelid.evaluate.report.figure_style import SERIES_MARKERS, Panel, Theme
from camelid.functional.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_STYLE_WIDTH = 0.2
LEAST_FACTS_WIDTH = 8.0
"""Percentage points that the axis of facts shows at least, so that noise is not blown up to a trend."""


@dataclass(frozen=True)
class Place:
    """A model in the plane: `up` is a share in [0, 1]; `group` decides colour and marker."""

    name: str
    group: str
    style: Estimate
    up: Estimate
    start: bool = False
    """Drawn hollow: a model before it imitated."""


def plane_panel(places: Sequence[Place], reference: str, up_label: str, *, note: str = "") -> Panel:
    """`up_label` names what goes up, such as "facts: mean accuracy of 4 tasks"."""
    groups = list(dict.fromkeys(place.group for place in places))
    points = [_point(place, i) for i, place in enumerate(places)]

    def draw(axes: Axes, theme: Theme) -> None:
        axes.set_xlim(limits([p.x_span for p in points], least=LEAST_STYLE_WIDTH))
        axes.set_ylim(limits([p.y_span for p in points], least=LEAST_FACTS_WIDTH, floor=0.0, ceiling=100.0))
        axes.set_xlabel(f"style: similarity to {reference}  (n = {places[0].style.n} prompts)")
        axes.set_ylabel(f"{up_label}, %")
        for number, group in enumerate(groups):
            _draw_group(
                axes, group, [i for i, p in enumerate(places) if p.group == group], points, places, number, theme
            )
        if len(groups) > 1 and any(place.name != place.group for place in places):
            axes.legend(loc="best", fontsize=8)
        name_points(axes, points, [_colour(groups.index(place.group), theme) for place in places], theme)

    caption = (
        "Across: the mean of list agreement, length correlation and shared words with the reference's answers. Up: "
        f"{up_label}. Bars are 95% intervals. A path that runs across and not up learnt manner, not matter.{note}"
    )
    listed = "; ".join(f"{p.name} ({p.group}): style {p.style.value:.2f}, {100 * p.up.value:.1f}%" for p in places)
    return Panel(caption, f"{up_label} over similarity of style to {reference}. {listed}.", draw)


def _draw_group(
    axes: Axes,
    group: str,
    members: list[int],
    points: Sequence[Point],
    places: Sequence[Place],
    number: int,
    theme: Theme,
) -> None:
    colour, marker = _colour(number, theme), SERIES_MARKERS[number % len(SERIES_MARKERS)]
    chosen = [points[i] for i in members]
    for point in chosen:
        axes.plot(point.x_span, (point.y, point.y), color=colour, alpha=0.4, lw=1.2, zorder=2)
        axes.plot((point.x, point.x), point.y_span, color=colour, alpha=0.4, lw=1.2, zorder=2)
    axes.plot([p.x for p in chosen], [p.y for p in chosen], color=colour, lw=1.2, zorder=3)
    for i in members:
        face = theme.paper if places[i].start else colour
        x, y = points[i].x, points[i].y
        axes.plot(x, y, marker=marker, ms=7, mfc=face, mec=colour, mew=1.6, ls="", zorder=4)
    axes.plot([], [], color=colour, marker=marker, ms=6, label=group)


def _colour(number: int, theme: Theme) -> str:
    return theme.series[number % len(theme.series)]


def _point(place: Place, number: int) -> Point:
    (x, x_span), (y, y_span) = _drawn(place.style, 1), _drawn(place.up, 100)
    return Point(place.name, number, x, y, x_span, y_span)


def _drawn(estimate: Estimate, factor: float) -> tuple[float, Span]:
    """Value and bar; an interval that is not known is drawn as none."""
    value, low, high = (factor * number for number in estimate[:3])
    return value, (low, high) if math.isfinite(low) and math.isfinite(high) else (value, value)
