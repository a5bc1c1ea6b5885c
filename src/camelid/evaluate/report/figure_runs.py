"""The figure of several runs: the path of each through helpfulness and safety, a colour and a marker a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camelid.evaluate.report.figure_panels import mark_corner, path_points, share_limits
from camelid.evaluate.report.figure_style import SERIES_MARKERS, Panel, Theme
from camelid.evaluate.report.page_numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def runs_panel(report: dict[str, Any]) -> Panel | None:
    """Win rate against its start over unsafe prompts refused, a line a run; None unless two runs have a path."""
    paths = {run["name"]: points for run in report["runs"] if len(points := path_points(run)) > 1}
    if len(paths) < 2:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        axes.axhline(50, color=theme.muted, lw=1, ls=(0, (4, 3)), zorder=1)
        share_limits(axes, [point for points in paths.values() for point in points])
        for i, (name, points) in enumerate(paths.items()):
            colour, marker = theme.series[i % len(theme.series)], SERIES_MARKERS[i % len(SERIES_MARKERS)]
            x, y = [p.x for p in points], [p.y for p in points]
            axes.plot(x, y, color=colour, marker=marker, ms=5, lw=1, alpha=0.55, zorder=2)
            last = points[-1]
            axes.plot(last.x_span, (last.y, last.y), color=colour, lw=1.4, zorder=3)
            axes.plot((last.x, last.x), last.y_span, color=colour, lw=1.4, zorder=3)
            axes.plot(last.x, last.y, color=colour, marker=marker, ms=10, ls="", label=name, zorder=4)
        axes.set_xlabel("unsafe prompts refused, %")
        axes.set_ylabel("win rate against the run's own start, %")
        mark_corner(axes, "better", 1, 1, theme)
        axes.legend(loc="best")

    absent = [run["name"] for run in report["runs"] if run["name"] not in paths]
    caption = (
        "A line goes through a run's versions in order; the large marker is the last, with its 95% intervals. "
        "Win rates are against each run's own start by its own judge: read across runs only where the list above "
        "allows it."
    ) + (f" Without a path, so not shown: {', '.join(absent)}." if absent else "")
    listed = "; ".join(f"{name}: {number(p[-1].y, 0)}% at {number(p[-1].x, 0)}%" for name, p in paths.items())
    return Panel(caption, f"Win rate over unsafe prompts refused, the last version of each run. {listed}.", draw)
