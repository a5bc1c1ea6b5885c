"""The figures of versions: where each one lies in helpfulness, safety, over-refusal, reward and drift.

A panel is made from the report by a function that returns its words and how to draw it, or None where there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from camelid.evaluate.report.figure_path import Point, draw_path, limits, version_points
from camelid.evaluate.report.figure_style import Panel, Theme
from camelid.evaluate.report.page_numbers import Estimate, number, sample_sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Report = dict[str, Any]
Entry = dict[str, Any]

LEAST_SHARE_WIDTH = 20.0
"""Percentage points that an axis shows at least."""


def path_panel(report: Report) -> Panel | None:
    """Helpfulness against safety: win rate against the start over the share of unsafe prompts refused."""
    points = path_points(report)
    if len(points) < 2:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        axes.axhline(50, color=theme.muted, lw=1, ls=(0, (4, 3)), zorder=1)
        share_limits(axes, points)
        axes.set_xlabel(f"unsafe prompts refused, %  ({_refused_n(report, 'unsafe')})")
        wins = sample_sizes(v.get("win_rate_vs_start") for v in report["versions"])
        axes.set_ylabel(f"win rate against the start, %  ({wins})")
        mark_corner(axes, "better", 1, 1, theme)
        draw_path(axes, points, len(report["versions"]), theme)

    caption = (
        "Each arrow leads to the next version; right is safer, up is more helpful. The dashed line is the start's own "
        "50%; bars are 95% intervals." + _not_shown(report, points)
    )
    return Panel(caption, _alt("Win rate against the start over unsafe prompts refused", points, "%", "%"), draw)


def path_points(report: Report) -> list[Point]:
    """Each version's win rate against the start over the share of unsafe prompts refused, in percent."""
    start = report["versions"][0]["version"] if report["versions"] else ""

    def win_rate(version: Entry) -> Estimate | None:
        # Against itself the start wins half by definition: a point without an error bar.
        even = {"value": 0.5, "low": 0.5, "high": 0.5, "n": 0}
        return even if version["version"] == start else version.get("win_rate_vs_start")

    return version_points(report, refused("unsafe"), win_rate, x_factor=100, y_factor=100)


def borderline_panel(report: Report) -> Panel | None:
    """Does it refuse what is harmful, or whatever sounds so? Borderline refusals over unsafe refusals."""
    points = version_points(report, refused("unsafe"), refused("borderline"), x_factor=100, y_factor=100)
    if not points:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        share_limits(axes, points)
        # Not axline(): limits are final here and the line must not widen them.
        axes.plot((0, 100), (0, 100), color=theme.muted, lw=1, ls=(0, (1, 2)), zorder=1, scalex=False, scaley=False)
        axes.set_xlabel(f"unsafe prompts refused, %  ({_refused_n(report, 'unsafe')})")
        axes.set_ylabel(f"harmless borderline refused, %  ({_refused_n(report, 'borderline')})")
        mark_corner(axes, "worse", 0, 1, theme)
        mark_corner(axes, "better", 1, 0, theme)
        draw_path(axes, points, len(report["versions"]), theme)

    caption = (
        "Up and left is bad: refusing the harmless and answering the harmful. On the dotted line a version refuses "
        "both alike." + _not_shown(report, points)
    )
    return Panel(caption, _alt("Borderline prompts refused over unsafe prompts refused", points, "%", "%"), draw)


def drift_panel(report: Report) -> Panel | None:
    """What each version's reward cost in distance from the start."""
    start = report["versions"][0]["version"] if report["versions"] else ""

    def drift(version: Entry) -> Estimate | None:
        nothing = {"value": 0.0, "low": 0.0, "high": 0.0, "n": 0}
        return version.get("kl_from_start") or (nothing if version["version"] == start else None)

    points = version_points(report, drift, lambda version: version.get("judge_score"))
    if len(points) < 2:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        axes.set_xlim(limits([p.x_span for p in points], least=0.5, floor=0.0))
        axes.set_ylim(limits([p.y_span for p in points], least=0.4))
        axes.set_xlabel("KL from the start, nats per completion")
        scores = sample_sizes(v.get("judge_score") for v in report["versions"])
        axes.set_ylabel(f"judge's mean standardised score  ({scores})")
        draw_path(axes, points, len(report["versions"]), theme)

    caption = (
        "The held-back judge's score against the distance from the start. Reward that is bought with much drift "
        "deserves a look at the answers." + _not_shown(report, points)
    )
    return Panel(caption, _alt("Judge's score over KL from the start", points, " nats", ""), draw)


def refused(kind: str) -> Callable[[Entry], Estimate | None]:
    """A getter of the share of prompts of a kind that a version refused."""
    return lambda version: (version.get("refusals") or {}).get(kind)


def _refused_n(report: Report, kind: str) -> str:
    return sample_sizes(map(refused(kind), report["versions"]))


def share_limits(axes: Axes, points: Sequence[Point]) -> None:
    """Axes of percentages around the points and their intervals."""
    spans = [p.x_span for p in points], [p.y_span for p in points]
    axes.set_xlim(limits(spans[0], least=LEAST_SHARE_WIDTH, floor=0.0, ceiling=100.0))
    axes.set_ylim(limits(spans[1], least=LEAST_SHARE_WIDTH, floor=0.0, ceiling=100.0))


def mark_corner(axes: Axes, word: str, right: int, up: int, theme: Theme) -> None:
    """A word in a corner of the axes, in the background."""
    axes.text(
        0.99 if right else 0.01,
        0.99 if up else 0.01,
        word,
        transform=axes.transAxes,
        ha="right" if right else "left",
        va="top" if up else "bottom",
        color=theme.muted,
        style="italic",
        fontsize=9,
        zorder=1,
    )


def _not_shown(report: Report, points: Sequence[Point]) -> str:
    """Names the versions without a point, so that nobody takes the path for the whole."""
    shown = {point.name for point in points}
    missing = [version["version"] for version in report["versions"] if version["version"] not in shown]
    return f" Not measured, so not shown: {', '.join(missing)}." if missing else ""


def _alt(what: str, points: Sequence[Point], x_unit: str, y_unit: str) -> str:
    places = 0 if x_unit == "%" else 2
    listed = "; ".join(
        f"{p.name}: {number(p.y, places if y_unit else 2)}{y_unit} at {number(p.x, places)}{x_unit}" for p in points
    )
    return f"{what}. In order: {listed}."
