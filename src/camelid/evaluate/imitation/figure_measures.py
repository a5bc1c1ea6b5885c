"""Style measures of several models as dots with intervals, a row a measure: for comparisons without facts, and beside
the plane of style and facts, where one number stands for them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camelid.evaluate.imitation.measures import Style
from camelid.evaluate.report.figure_style import SERIES_MARKERS, Panel, Theme
from camelid.functional.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = {
    "lists where the reference lists": "lists_where_reference_does",
    "lists where it does not": "lists_where_reference_does_not",
    "length correlation": "length_correlation",
    "unigram F1": "unigram_f1",
    "bigram F1": "bigram_f1",
    "opens in the same manner": "same_tone",
    "similarity (mean of three)": "similarity",
}
"""What is drawn: name on the axis -> field of `Style`. All lie between -1 and 1, nearly always above 0."""


def measures_panel(styles: dict[str, Style], reference: str) -> Panel:
    """`styles`: by model's name."""
    n = next(iter(styles.values())).n

    def draw(axes: Axes, theme: Theme) -> None:
        names = list(ROWS)
        step = 0.5 / max(len(styles), 2)
        for number, (model, style) in enumerate(styles.items()):
            colour, marker = theme.series[number % len(theme.series)], SERIES_MARKERS[number % len(SERIES_MARKERS)]
            for row, field in enumerate(ROWS.values()):
                estimate: Estimate | None = getattr(style, field)
                if estimate is not None:
                    height = row + (number - (len(styles) - 1) / 2) * step
                    axes.plot((estimate.low, estimate.high), (height, height), color=colour, lw=1.6, alpha=0.5)
                    axes.plot(estimate.value, height, color=colour, marker=marker, ms=6, ls="")
            axes.plot([], [], color=colour, marker=marker, ls="", label=model)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(min(0.0, axes.get_xlim()[0]), 1.02)
        axes.axhline(len(names) - 1.5, color=theme.muted, lw=0.8)
        axes.set_xlabel(f"beside {reference}'s answers  (n = {n} prompts)")
        # Above the axes: inside, no place is free for every pair of models.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(styles), 3))

    listed = "; ".join(
        f"{model}: " + ", ".join(f"{name} {e.value:.2f}" for name, f in ROWS.items() if (e := getattr(style, f)))
        for model, style in styles.items()
    )
    caption = "Bars are 95% intervals over prompts. Lists where the reference has none should be rare, the rest near 1."
    return Panel(caption, f"Style measures beside {reference}. {listed}.", draw)

