"""The figure of reward models: accuracy by how clear the preference was, beside 'the longer answer wins'."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from camelid.evaluate.report.figure_style import SERIES_MARKERS, Panel, Theme
from camelid.evaluate.report.page_numbers import SHARE, Estimate, sample_sizes, value_text
from camelid.types import RATINGS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Report = dict[str, Any]


def ratings_panel(report: Report) -> Panel | None:
    """Accuracy of every reward model by rating, strongest preference first."""
    rewards = [reward for reward in report.get("rewards") or [] if reward.get("by_rating")]
    if not rewards:
        return None
    present = {rating for reward in rewards for rating in reward["by_rating"]}
    ratings = [r for r in RATINGS if r in present] + sorted(present.difference(RATINGS))
    models = [_model(reward, ratings) for reward in rewards]
    shared = all(model.longer_wins == models[0].longer_wins for model in models)

    def draw(axes: Axes, theme: Theme) -> None:
        axes.axhline(50, color=theme.muted, lw=1, ls=(0, (4, 3)), zorder=1)
        step = 0.8 / (len(models) + shared)  # ratings are 1 apart; a shared baseline takes a place of its own
        for i, model in enumerate(models):
            place = step * (i + 0.5) - 0.4
            colour, marker = theme.series[i % len(theme.series)], SERIES_MARKERS[i % len(SERIES_MARKERS)]
            _draw_row(axes, place, model.accuracy, colour, marker, model.name)
            if not shared:
                label = "longer wins (same pairs)" if i == len(models) - 1 else None
                _draw_row(axes, place + 0.35 * step, model.longer_wins, theme.muted, "x", label)
        if shared:
            _draw_row(axes, 0.4 - 0.5 * step, models[0].longer_wins, theme.muted, "x", "longer wins")
        axes.set_xticks(range(len(ratings)), [_tick(rating, rewards) for rating in ratings])
        axes.set_xlim(-0.5, len(ratings) - 0.5)
        axes.grid(visible=False, axis="x")
        axes.set_ylim(*_share_range(models))
        axes.set_ylabel("accuracy, %")
        # Above the axes: the points may lie anywhere inside.
        axes.legend(loc="lower left", bbox_to_anchor=(-0.1, 1), ncols=3, columnspacing=1.0, handletextpad=0.2)

    caption = (
        "How often each reward model prefers the chosen answer, with 95% intervals; the clearer the preference, the "
        "easier. Crosses: preferring the longer answer. Dashed: chance."
    )
    return Panel(caption, _alt(models, ratings), draw)


@dataclass(frozen=True)
class Model:
    """A reward model and its baseline on the same pairs, one estimate a rating, None where there were no pairs."""

    name: str
    accuracy: list[Estimate | None]
    longer_wins: list[Estimate | None]


def _model(reward: dict[str, Any], ratings: list[str]) -> Model:
    rows = [reward["by_rating"].get(rating) or {} for rating in ratings]
    return Model(reward["name"], [row.get("accuracy") for row in rows], [row.get("longer_wins") for row in rows])


def _draw_row(
    axes: Axes, place: float, values: list[Estimate | None], colour: str, marker: str, label: str | None
) -> None:
    """One series over the ratings, `place` to the side of each; its name goes to the legend once."""
    known = [(k + place, estimate) for k, estimate in enumerate(values) if estimate is not None]
    for x, estimate in known:
        low, high = 100 * estimate["low"], 100 * estimate["high"]
        if math.isfinite(low) and math.isfinite(high):
            axes.plot((x, x), (low, high), color=colour, lw=1.5, alpha=0.55)
    heights = [100 * estimate["value"] for _, estimate in known]
    size = 5 if marker == "x" else 7
    axes.plot([x for x, _ in known], heights, marker=marker, ms=size, mew=1.8, color=colour, ls="", label=label)


def _tick(rating: str, rewards: list[dict[str, Any]]) -> str:
    """'slightly / better / n = 40', the n of all models."""
    n = sample_sizes((reward["by_rating"].get(rating) or {}).get("accuracy") for reward in rewards)
    return f"{rating.replace(' ', chr(10), 1)}\n{n}"


def _share_range(models: list[Model]) -> tuple[float, float]:
    """From below the lowest interval, and chance, to 100%."""
    estimates = [e for model in models for e in (*model.accuracy, *model.longer_wins) if e is not None]
    lows = [100 * e["low"] for e in estimates if math.isfinite(e["low"])]
    return max(0.0, min([45.0, *lows]) - 5), 103.0


def _alt(models: list[Model], ratings: list[str]) -> str:
    parts = []
    for name, values in [(m.name, m.accuracy) for m in models] + [
        (f"longer wins, on the pairs of {m.name}", m.longer_wins) for m in models
    ]:
        shown = [f"{r} {value_text(e, SHARE)}" for r, e in zip(ratings, values, strict=True) if e is not None]
        if shown:
            parts.append(f"{name}: {', '.join(shown)}.")
    return "Accuracy of the reward models by rating. " + " ".join(parts)
