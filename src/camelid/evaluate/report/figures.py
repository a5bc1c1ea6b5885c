"""Draws the report's figures as PNG, for light and for dark screens. The panels say what they show.

matplotlib is imported inside the functions: whoever only reads or annotates needs none. Figures are made without
pyplot, so there is no global state, no display, and no figure left open.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from camelid.evaluate.report.figure_curves import best_of_n_panel, ppo_panel
from camelid.evaluate.report.figure_intervals import intervals_panel
from camelid.evaluate.report.figure_panels import borderline_panel, drift_panel, path_panel
from camelid.evaluate.report.figure_ratings import ratings_panel
from camelid.evaluate.report.figure_runs import runs_panel
from camelid.evaluate.report.figure_style import DARK, LIGHT, Panel, Theme, settings

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 5.8, 4.6, 200


@dataclass(frozen=True)
class Slot:
    """A place on the page for a figure; `absent` is said where the report has nothing for it."""

    name: str
    number: str
    title: str
    absent: str
    panel: Callable[[dict[str, Any]], Panel | None]


SLOTS = (
    Slot(
        "helpfulness-safety",
        "1a",
        "Helpfulness against safety",
        "Fewer than two versions have both a win rate and refusals of unsafe prompts.",
        path_panel,
    ),
    Slot(
        "over-refusal",
        "1b",
        "Does it refuse the right prompts?",
        "No version has refusals of both unsafe and borderline prompts.",
        borderline_panel,
    ),
    Slot(
        "reward-drift",
        "2a",
        "Reward against drift, by version",
        "Fewer than two versions have both a judge's score and a distance from the start.",
        drift_panel,
    ),
    Slot("ppo", "2b", "Reward against drift, in training", "No PPO stage in this run.", ppo_panel),
    Slot("best-of-n", "3", "Best of N", "No rejection sampling in this run.", best_of_n_panel),
    Slot(
        "reward-accuracy",
        "4",
        "Reward models by clarity of the preference",
        "No reward model was tested on rated preferences.",
        ratings_panel,
    ),
)


RUNS_SLOTS = (
    Slot("runs", "0", "All runs: helpfulness against safety", "Fewer than two runs have a path.", runs_panel),
)
"""Figures that set several runs side by side."""


@dataclass(frozen=True)
class Picture:
    """A figure of the page. `light` and `dark` are PNG files, empty where there was nothing to draw."""

    name: str
    number: str
    title: str
    caption: str
    alt: str
    light: bytes
    dark: bytes


def draw_pictures(report: dict[str, Any]) -> list[Picture]:
    """All figures of a report in order; of several runs, those that show them together.

    One without data keeps its place and says in its caption what is missing.
    """
    can_draw = importlib.util.find_spec("matplotlib") is not None
    pictures = []
    for slot in RUNS_SLOTS if "runs" in report else SLOTS:
        panel = slot.panel(report)
        if panel is None or not can_draw:
            absent = slot.absent if can_draw else "matplotlib is not installed: pip install 'camelid[train]'"
            pictures.append(Picture(slot.name, slot.number, slot.title, absent, "", b"", b""))
        else:
            light, dark = render(panel, LIGHT), render(panel, DARK)
            pictures.append(Picture(slot.name, slot.number, slot.title, panel.caption, panel.alt, light, dark))
    return pictures


def draw_kind(name: str, rows: list[dict[str, Any]]) -> Picture | None:
    """The figure of one kind of results; None where there is nothing to draw, or nothing to draw with."""
    panel = intervals_panel(rows)
    if panel is None or importlib.util.find_spec("matplotlib") is None:
        return None
    light, dark = render(panel, LIGHT), render(panel, DARK)
    return Picture(f"measures-{name}", "", name.replace("-", " "), panel.caption, panel.alt, light, dark)


def render(panel: Panel, theme: Theme) -> bytes:
    """One panel as a PNG of 1160 x 920 pixels."""
    import matplotlib
    from matplotlib.figure import Figure

    parameters: Any = settings(theme)  # newer matplotlib types its keys by a list that older ones do not have
    with matplotlib.rc_context(parameters):
        figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="constrained")
        panel.draw(figure.add_subplot(), theme)
        file = io.BytesIO()
        # No software version or date in the file: the same report gives the same bytes.
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return file.getvalue()
