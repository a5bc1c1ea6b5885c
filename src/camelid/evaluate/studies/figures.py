"""The figures of a study: arms side by side with their intervals, curves, one measure over another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from camelid.evaluate.report.figure_path import limits
from camelid.evaluate.report.figure_style import SERIES_MARKERS, Panel, Theme
from camelid.functional.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Named = Sequence[tuple[str, Estimate]]


class Figure(BaseModel):
    """What is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    kind: Literal["arms", "curve", "plane"] = "arms"
    """Arms side by side; a line an arm and curve; one measure over another, arms joined in their order."""
    measures: tuple[str, ...]
    """Measures of `arms`; the curves; across and up of `plane`."""
    x_label: str = ""
    y_label: str = ""
    log_x: bool = False


def arms_panel(figure: Figure, measures: Sequence[tuple[str, float, Named]]) -> Panel:
    """`measures`: name, factor (100 for a share in percent), and the estimate of each arm that has it."""
    names = list(dict.fromkeys(name for _, _, arms in measures for name, _ in arms))

    def draw(axes: Axes, theme: Theme) -> None:
        for place, (measure, factor, arms) in enumerate(measures):
            colour, marker = _look(place, theme)
            offset = 0.5 * ((place + 0.5) / len(measures) - 0.5)
            heights = [names.index(name) + offset for name, _ in arms]
            for height, (_, estimate) in zip(heights, arms, strict=True):
                axes.plot(_bar(estimate, factor), (height, height), color=colour, alpha=0.6, lw=1.4)
            values = [factor * estimate.value for _, estimate in arms]
            axes.plot(values, heights, color=colour, marker=marker, ms=6, ls="", label=measure)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)  # the first on top
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(figure.x_label)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)

    listed = "; ".join(f"{m}, {name}: {f * e.value:.3g}" for m, f, arms in measures for name, e in arms)
    return Panel("Bars are 95% intervals over items and seeds.", f"{figure.title}. {listed}.", draw)


def curve_panel(figure: Figure, curves: Sequence[tuple[str, Sequence[tuple[float, Estimate]]]]) -> Panel:
    """A line each."""

    def draw(axes: Axes, theme: Theme) -> None:
        if figure.log_x:
            axes.set_xscale("log", base=2)
        for place, (name, points) in enumerate(curves):
            colour, marker = _look(place, theme)
            xs = [x for x, _ in points]
            bars = [_bar(y, 1) for _, y in points]
            axes.plot(xs, [y.value for _, y in points], color=colour, marker=marker, ms=5, lw=1.8, label=name)
            axes.fill_between(xs, [low for low, _ in bars], [high for _, high in bars], color=colour, alpha=0.15)
        if figure.log_x:
            ticks = sorted({x for _, points in curves for x, _ in points})
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axes.minorticks_off()
        axes.set_xlabel(figure.x_label)
        axes.set_ylabel(figure.y_label)
        axes.legend()

    listed = "; ".join(f"{name}: " + ", ".join(f"{y.value:.3g} at {x:g}" for x, y in points) for name, points in curves)
    return Panel("Bands are 95% intervals over items and seeds.", f"{figure.title}. {listed}.", draw)


def plane_panel(figure: Figure, across: Named, up: Named, factors: tuple[float, float]) -> Panel:
    """A point an arm."""
    points = [
        (name, _drawn(x, factors[0]), _drawn(y, factors[1])) for (name, x), (_, y) in zip(across, up, strict=True)
    ]

    def draw(axes: Axes, theme: Theme) -> None:
        axes.set_xlim(limits([x[1] for _, x, _ in points], least=0.0))
        axes.set_ylim(limits([y[1] for _, _, y in points], least=0.0))
        for place, (name, (x, x_span), (y, y_span)) in enumerate(points):
            colour, marker = _look(place, theme)
            axes.plot(x_span, (y, y), color=colour, alpha=0.4, lw=1.2)
            axes.plot((x, x), y_span, color=colour, alpha=0.4, lw=1.2)
            axes.plot(x, y, marker=marker, ms=8, color=colour, ls="", label=name)
        axes.set_xlabel(figure.x_label or figure.measures[0])
        axes.set_ylabel(figure.y_label or figure.measures[1])
        axes.legend(fontsize=8)

    listed = "; ".join(f"{name}: {x[0]:.3g}, {y[0]:.3g}" for name, x, y in points)
    return Panel("Bars are 95% intervals over items and seeds.", f"{figure.title}. {listed}.", draw)


def _look(place: int, theme: Theme) -> tuple[str, str]:
    return theme.series[place % len(theme.series)], SERIES_MARKERS[place % len(SERIES_MARKERS)]


def _bar(estimate: Estimate, factor: float) -> tuple[float, float]:
    """The interval; one that is not known is drawn as none."""
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return factor * estimate.value, factor * estimate.value
    return factor * estimate.low, factor * estimate.high


def _drawn(estimate: Estimate, factor: float) -> tuple[float, tuple[float, float]]:
    return factor * estimate.value, _bar(estimate, factor)
