"""The figures of a comparison as PNG files: the measures of style, and where there is something to go up, the plane."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from camelid.evaluate.imitation.comparison import Comparison, Side
from camelid.evaluate.imitation.figure_dots import measures_panel
from camelid.evaluate.imitation.figure_plane import Place, plane_panel
from camelid.evaluate.plain_page import write_panel
from camelid.evaluate.report.figure_style import Panel
from camelid.functional.statistics import Estimate


def write_figures(result: Comparison, folder: Path) -> list[Path]:
    """style.png always; facts.png and wins.png where the comparison has facts or a judge's wins."""
    panels = {"style": measures_panel({side.name: side.style for side in result.sides}, result.reference)}
    tasks = len(result.sides[0].facts or {})
    if all(side.knowledge for side in result.sides):
        panels["facts"] = _plane(result, lambda side: side.knowledge, f"facts: mean accuracy, {tasks} tasks")
    if all(side.wins for side in result.sides):
        panels["wins"] = _plane(result, lambda side: side.wins, f"judge prefers it to {result.reference}")
    return [write_panel(panel, folder / f"{name}.png") for name, panel in panels.items()]


def _plane(result: Comparison, up: Callable[[Side], Estimate | None], label: str) -> Panel:
    places = []
    for side in result.sides:
        estimate: Estimate | None = up(side)
        assert estimate is not None
        places.append(Place(side.name, side.name, side.style.similarity, estimate))
    return plane_panel(places, result.reference, label)
