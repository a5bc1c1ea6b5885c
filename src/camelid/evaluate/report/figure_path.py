"""The path that the versions take through two measures: points in order, joined by arrows, named, with error bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from camelid.evaluate.report.figure_labels import Floats, place_labels
from camelid.evaluate.report.figure_style import Theme, stage_marker, version_colours
from camelid.evaluate.report.page_numbers import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

Span = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """A version at (x, y), with its 95% intervals; `place` is its position among all versions of the report."""

    name: str
    place: int
    x: float
    y: float
    x_span: Span
    y_span: Span


def version_points(
    report: dict[str, Any],
    x: Callable[[dict[str, Any]], Estimate | None],
    y: Callable[[dict[str, Any]], Estimate | None],
    *,
    x_factor: float = 1.0,
    y_factor: float = 1.0,
) -> list[Point]:
    """The versions for which both measures exist. An unknown (infinite) interval is drawn as none."""
    points = []
    for place, version in enumerate(report["versions"]):
        across, up = x(version), y(version)
        if across is not None and up is not None:
            x_value, x_span = _scaled(across, x_factor)
            y_value, y_span = _scaled(up, y_factor)
            points.append(Point(version["version"], place, x_value, y_value, x_span, y_span))
    return points


def draw_path(axes: Axes, points: Sequence[Point], num_versions: int, theme: Theme) -> list[Annotation]:
    """Draw the points, their error bars, the arrows between them and their names; the axes' limits must be final.

    Returns the names. Two that cannot be told apart would be worse than none, so `figure_labels` keeps them apart.
    """
    colours = [version_colours(num_versions, theme)[point.place] for point in points]
    for point, colour in zip(points, colours, strict=True):
        axes.plot(point.x_span, (point.y, point.y), color=colour, alpha=0.45, lw=1.4, zorder=2)
        axes.plot((point.x, point.x), point.y_span, color=colour, alpha=0.45, lw=1.4, zorder=2)
        face = theme.paper if point.place == 0 else colour
        axes.plot(
            point.x, point.y, marker=stage_marker(point.name), ms=8, mfc=face, mec=colour, mew=1.8, ls="", zorder=4
        )
    for before, after in pairwise(points):
        arrow = {"arrowstyle": "-|>", "color": theme.muted, "lw": 1.1, "shrinkA": 6, "shrinkB": 6, "mutation_scale": 8}
        axes.annotate("", (after.x, after.y), (before.x, before.y), arrowprops=arrow, zorder=3).set_in_layout(False)
    return name_points(axes, points, colours, theme)


def limits(
    spans: Sequence[Span], *, least: float, floor: float = -math.inf, ceiling: float = math.inf
) -> tuple[float, float]:
    """Limits of an axis: all spans and a margin, at least `least` wide, so that noise is not blown up to a trend.

    `floor` and `ceiling` are what the measure can reach; the axis passes them by a hair, so that markers stay whole.
    """
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    margin = max(0.12 * (high - low), (least - (high - low)) / 2)
    hair = 0.03 * (high - low + 2 * margin)
    return max(low - margin, floor - hair), min(high + margin, ceiling + hair)


def _scaled(estimate: Estimate, factor: float) -> tuple[float, Span]:
    value, low, high = (factor * estimate[key] for key in ("value", "low", "high"))
    return value, (low if math.isfinite(low) else value, high if math.isfinite(high) else value)


def name_points(axes: Axes, points: Sequence[Point], colours: Sequence[str], theme: Theme) -> list[Annotation]:
    from matplotlib.patheffects import withStroke
    from matplotlib.text import Text

    labels = [
        axes.annotate(
            point.name,
            (point.x, point.y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            color=theme.ink,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 0, "shrinkB": 5},
            path_effects=[withStroke(linewidth=2.5, foreground=theme.paper)],
            zorder=5,
        )
        for point, colour in zip(points, colours, strict=True)
    ]
    for label in labels:
        label.set_in_layout(False)
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes that were just drawn on belong to a figure"
    figure.draw_without_rendering()  # settles the layout, hence the pixels
    scale = figure.dpi / 72
    anchors = axes.transData.transform([(p.x, p.y) for p in points])
    # Text's own extent: an Annotation's would include its leader.
    sizes = np.array([Text.get_window_extent(label).size for label in labels])
    centres = place_labels(anchors, sizes, _obstacles(axes, points, scale), np.array(axes.bbox.extents), scale)
    for label, offset in zip(labels, (centres - anchors) / scale, strict=True):
        label.set_position(tuple(offset))
    return labels


def _obstacles(axes: Axes, points: Sequence[Point], scale: float) -> Floats:
    """Samples every 5 points or so along error bars and arrows, in pixels. (M, 2)."""
    lines = [((p.x_span[0], p.y), (p.x_span[1], p.y)) for p in points]
    lines += [((p.x, p.y_span[0]), (p.x, p.y_span[1])) for p in points]
    lines += [((a.x, a.y), (b.x, b.y)) for a, b in pairwise(points)]
    samples = []
    for line in lines:
        ends = axes.transData.transform(line)
        steps = np.linspace(0.0, 1.0, max(2, int(np.linalg.norm(ends[1] - ends[0]) / (5 * scale))))[:, None]
        samples.append(ends[0] * (1 - steps) + ends[1] * steps)
    return np.concatenate(samples)
