"""The page of a path: a figure for each who judges, a table of versions, a table of what rose and what did not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from camelid.evaluate.plain_page import Table, shown, write_plain_page
from camelid.evaluate.report.figure_panels import share_limits
from camelid.evaluate.report.figure_path import Point, draw_path
from camelid.evaluate.report.figure_style import Panel, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Helpfulness against safety"
NAMES = {
    "reward models": "By the last reward models, which training sought to please",
    "judge": "By a judge that training never saw",
}


def write_path_page(folder: Path, results: dict[str, Any]) -> None:
    """report.html, tables.md and figures/ of what `path.describe` found."""
    panels = {}
    if len(results["sides"]) == 2:
        panels = {f"path-{name.replace(' ', '-')}": (heading, _panel(results, name)) for name, heading in NAMES.items()}
    counts = " and ".join(f"{n} prompts for {side}" for side, n in results["num_prompts"].items())
    notes = [
        f"Share of prompts whose answer scores higher than that of {results['reference']}, ties a half; 95% intervals "
        f"over prompts; {counts}.",
        _choice(results["choice"]),
    ]
    write_plain_page(folder, TITLE, notes, panels, [_versions(results), _steps(results)])


def _panel(results: dict[str, Any], evaluator: str) -> Panel:
    across, up = results["sides"]
    rows = [(row["version"], row[evaluator][across], row[evaluator][up]) for row in results["versions"]]
    points = [
        Point(name, place, 100 * x["value"], 100 * y["value"], _span(x), _span(y))
        for place, (name, x, y) in enumerate(rows)
    ]

    def draw(axes: Axes, theme: Theme) -> None:
        share_limits(axes, points)
        axes.set_xlabel(f"{across}: wins against {results['reference']}, %")
        axes.set_ylabel(f"{up}: wins against {results['reference']}, %")
        draw_path(axes, points, len(points), theme)

    listed = "; ".join(f"{p.name}: {across} {p.x:.1f}%, {up} {p.y:.1f}%" for p in points)
    return Panel("Bars are 95% intervals over prompts.", f"{NAMES[evaluator]}. {listed}.", draw)


def _span(estimate: dict[str, Any]) -> tuple[float, float]:
    return 100 * estimate["low"], 100 * estimate["high"]


def _versions(results: dict[str, Any]) -> Table:
    sides = results["sides"]
    columns = ["version", *(f"{side} by {name}, %" for name in NAMES for side in sides)]
    columns += [f"refused, {side} prompts, %" for side in sides]
    rows = [
        [row["version"]]
        + [shown(row[name][side], 100) for name in NAMES for side in sides]
        + [f"{100 * row['refused'][side]:.1f}" for side in sides]
        for row in results["versions"]
    ]
    return Table("Versions", columns, rows)


def _steps(results: dict[str, Any]) -> Table:
    columns = ["step", *(f"{side} by {name}" for name in NAMES for side in results["sides"])]
    rows = [
        [f"{step['from']} to {step['to']}"]
        + [
            f"{step[name][side]['verdict']}: {shown(_estimate(step[name][side]), 100)}"
            for name in NAMES
            for side in results["sides"]
        ]
        for step in results["steps"]
    ]
    return Table("What rose, what did not (points, 95% interval)", columns, rows)


def _estimate(change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in change.items() if name != "verdict"}


def _choice(choice: dict[str, Any]) -> str:
    difference = shown(choice["judge_difference"], 1)
    says = (
        "the judge says the same"
        if choice["judge_is_sure"]
        else "the judge cannot tell them apart"
        if choice["judge_agrees"]
        else "the judge says the contrary"
    )
    return (
        f"By mean reward {choice['version']} is chosen ({choice['reward']:.2f}), before {choice['runner_up']} "
        f"({choice['runner_up_reward']:.2f}); {says}: {difference} standard deviations between the two."
    )
