"""Dots with 95% intervals, a row a measure, a colour and marker a model: several numbers of several models at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from camelid.evaluate.imitation.measures import Style
from camelid.evaluate.report.figure_style import SERIES_MARKERS, Panel, Theme
from camelid.functional.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE_ROWS = {
    "lists where the reference lists": "lists_where_reference_does",
    "lists where it does not": "lists_where_reference_does_not",
    "length correlation": "length_correlation",
    "unigram F1": "unigram_f1",
    "bigram F1": "bigram_f1",
    "opens in the same manner": "same_tone",
    "similarity (mean of three)": "similarity",
}
"""What is drawn of a style: name on the axis -> field of `Style`. All lie between -1 and 1, nearly always above 0."""

Series = Mapping[str, Sequence[Estimate | None]]
"""Estimates of each model, one a row; None where it has none."""


def measures_panel(styles: Mapping[str, Style], reference: str) -> Panel:
    """Style of several models, by name, beside a reference."""
    n = next(iter(styles.values())).n
    series = {name: [getattr(style, field) for field in STYLE_ROWS.values()] for name, style in styles.items()}
    caption = "Bars are 95% intervals over prompts. Lists where the reference has none should be rare, the rest near 1."
    return dots_panel(
        list(STYLE_ROWS), series, f"beside {reference}'s answers  (n = {n} prompts)", caption, rule_before=6
    )


def dots_panel(
    rows: Sequence[str], series: Series, label: str, caption: str, *, rule_before: int | None = None
) -> Panel:
    """`label`: of the axis. `rule_before`: a line is drawn above this row, to set it apart."""

    def draw(axes: Axes, theme: Theme) -> None:
        step = 0.5 / max(len(series), 2)
        for number, (model, estimates) in enumerate(series.items()):
            colour, marker = theme.series[number % len(theme.series)], SERIES_MARKERS[number % len(SERIES_MARKERS)]
            for row, estimate in enumerate(estimates):
                if estimate is not None:
                    height = row + (number - (len(series) - 1) / 2) * step
                    if math.isfinite(estimate.low):  # of one prompt there is no interval
                        axes.plot((estimate.low, estimate.high), (height, height), color=colour, lw=1.6, alpha=0.5)
                    axes.plot(estimate.value, height, color=colour, marker=marker, ms=6, ls="")
            axes.plot([], [], color=colour, marker=marker, ls="", label=model)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(min(0.0, axes.get_xlim()[0]), 1.02)
        if rule_before is not None:
            axes.axhline(rule_before - 0.5, color=theme.muted, lw=0.8)
        axes.set_xlabel(label)
        # Above the axes: inside, no place is free for every pair of models.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(series), 3))

    listed = "; ".join(
        f"{model}: " + ", ".join(f"{row} {e.value:.2f}" for row, e in zip(rows, estimates, strict=True) if e)
        for model, estimates in series.items()
    )
    return Panel(caption, f"{label}. {listed}.", draw)
