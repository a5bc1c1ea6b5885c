"""The figure of measures that no code knows by name: shares of one kind of stage, their intervals, a marker a version.

Drawn is what lies between 0 and 1 with its whole interval, as shares do: other scales do not fit one axis and stay in
the table. So does what is beyond `MOST_MEASURES` and `MOST_COLUMNS`; the caption says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from camelid.evaluate.report.figure_path import limits
from camelid.evaluate.report.figure_style import SERIES_MARKERS, Panel, Theme
from camelid.evaluate.report.page_numbers import PLAIN, value_text
from camelid.evaluate.report.sources import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MEASURES, MOST_COLUMNS, NAME_LENGTH = 12, len(SERIES_MARKERS), 30
Row = dict[str, Any]


def intervals_panel(rows: Sequence[Row]) -> Panel | None:
    """The measures between 0 and 1 among the rows of one kind of stage; None where there is none."""
    shares = [row for row in rows if row["low"] is not None and row["low"] >= 0 and row["high"] <= 1]
    if not shares:
        return None
    several = len({row["run"] for row in rows}) > 1
    columns = list(dict.fromkeys(_column(row, several=several) for row in shares))
    names = list(dict.fromkeys(row["measure"] for row in shares))
    shown = [
        row
        for row in shares
        if row["measure"] in names[:MOST_MEASURES] and _column(row, several=several) in columns[:MOST_COLUMNS]
    ]
    drawn_names, drawn_columns = names[:MOST_MEASURES], columns[:MOST_COLUMNS]

    def draw(axes: Axes, theme: Theme) -> None:
        for place, column in enumerate(drawn_columns):
            colour, marker = theme.series[place], SERIES_MARKERS[place]
            offset = 0.6 * ((place + 0.5) / len(drawn_columns) - 0.5)
            mine = [row for row in shown if _column(row, several=several) == column]
            heights = [drawn_names.index(row["measure"]) + offset for row in mine]
            for row, y in zip(mine, heights, strict=True):
                axes.plot((row["low"], row["high"]), (y, y), color=colour, alpha=0.6, lw=1.4, zorder=2)
            values = [row["value"] for row in mine]
            axes.plot(values, heights, color=colour, marker=marker, ms=5, ls="", label=column, zorder=3)
        axes.set_xlim(limits([(r["low"], r["high"]) for r in shown], least=0.2, floor=0, ceiling=1))
        axes.set_yticks(range(len(drawn_names)), [_short(name) for name in drawn_names])
        axes.set_ylim(len(drawn_names) - 0.5, -0.5)  # the first on top
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("value, as in the table")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)

    limited = ((names, MOST_MEASURES, "measures"), (columns, MOST_COLUMNS, "versions"))
    left = [f"{len(whole) - most} more {what}" for whole, most, what in limited if len(whole) > most]
    caption = "Measures between 0 and 1 with their 95% intervals; others are in the table alone."
    caption += f" Not drawn: {', '.join(left)}." if left else ""
    listed = "; ".join(f"{row['measure']}, {_column(row, several=several)}: {value_text(row, PLAIN)}" for row in shown)
    return Panel(caption, f"Measures with their intervals. {listed}.", draw)


def _column(row: Row, *, several: bool) -> str:
    return label(row["run"], row["version"]) if several else row["version"]


def _short(name: str) -> str:
    """The end of a long dotted name, where it differs from its neighbours."""
    return name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"
