"""The figures of training: score against KL over PPO's iterations, and what picking the best of N samples gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from camelid.evaluate.report.figure_style import SERIES_MARKERS, Panel, Theme
from camelid.evaluate.report.page_numbers import number
from camelid.functional.statistics import Z95

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Report = dict[str, Any]
Entry = dict[str, Any]

AVERAGED_SHARE = 0.1
"""Share of the iterations that the moving average of a PPO run spans."""


def ppo_panel(report: Report) -> Panel | None:
    """Score against KL over the iterations of PPO and of what takes its place, one colour a run."""
    runs = [run for run in report.get("ppo") or [] if run.get("points")]
    if not runs:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        for i, run in enumerate(runs):
            path = np.array([(p["kl"], p["score"]) for p in run["points"]])
            colour, marker = _look(i, theme)
            axes.plot(*path.T, marker=marker, ms=3.2, mew=0, ls="", color=colour, alpha=0.35)
            mean = _moving_average(path, _window(run))
            axes.plot(*mean.T, color=colour, lw=2, label=run["name"], marker=marker, markevery=[len(mean) - 1], ms=8)
            axes.plot(*mean[0], marker=marker, ms=8, mfc=theme.paper, mec=colour, mew=1.8, ls="")
        axes.set_xlabel("KL from the frozen reference, nats")
        axes.set_ylabel("reward model's mean score")
        axes.legend()

    spans = ", ".join(f"{_window(run)} of {len(run['points'])} in {run['name']}" for run in runs)
    caption = (
        "A small dot is one iteration; the line is a moving average of iterations "
        f"({spans}), from the hollow marker to the full one. No intervals: each dot is one batch of training."
    )
    return Panel(caption, "Score over KL in training. " + " ".join(_ppo_alt(run) for run in runs), draw)


def best_of_n_panel(report: Report) -> Panel | None:
    """Mean score of the best of N samples, one line a round."""
    curves = [curve for curve in report.get("best_of_n") or [] if curve.get("points")]
    if not curves:
        return None
    counts = sorted({point["n"] for curve in curves for point in curve["points"]})

    def draw(axes: Axes, theme: Theme) -> None:
        axes.set_xscale("log", base=2)
        for i, curve in enumerate(curves):
            colour, marker = _look(i, theme)
            # A hair to the side for each further round, so that error bars at the same N do not cover one another.
            n = [point["n"] * 1.03 ** (i - (len(curves) - 1) / 2) for point in curve["points"]]
            mean = [point["mean"] for point in curve["points"]]
            error = [Z95 * (point.get("standard_error") or 0.0) for point in curve["points"]]
            axes.errorbar(
                n, mean, error, color=colour, marker=marker, ms=6, lw=1.8, elinewidth=1.4, capsize=3, label=_name(curve)
            )
        axes.set_xticks(counts, [str(n) for n in counts])
        axes.minorticks_off()
        axes.set_xlabel("N, samples a prompt")
        axes.set_ylabel("mean score of the best of N")
        axes.legend(loc="upper left")

    alt = "Mean score of the best of N samples. " + " ".join(
        f"{curve['name']}: "
        + ", ".join(f"{number(point['mean'], 2)} at N = {point['n']}" for point in curve["points"])
        + "."
        for curve in curves
    )
    caption = (
        "What rejection sampling has to gain: the reward model picks the best of N answers. "
        "Bars are 95% intervals (1.96 standard errors)."
    )
    return Panel(caption, alt, draw)


def _look(i: int, theme: Theme) -> tuple[str, str]:
    return theme.series[i % len(theme.series)], SERIES_MARKERS[i % len(SERIES_MARKERS)]


def _name(curve: Entry) -> str:
    temperature = curve.get("temperature")
    return curve["name"] if temperature is None else f"{curve['name']}, temperature {temperature:g}"


def _window(run: Entry) -> int:
    """Iterations in the moving average of a run."""
    return max(1, round(AVERAGED_SHARE * len(run["points"])))


def _moving_average(path: Any, window: int) -> Any:
    """Means of `window` neighbours along the first axis; (T, 2) becomes (T - window + 1, 2)."""
    kernel = np.full(window, 1 / window)
    return np.stack([np.convolve(column, kernel, mode="valid") for column in path.T], axis=1)


def _ppo_alt(run: Entry) -> str:
    first, last = run["points"][0], run["points"][-1]
    return (
        f"{run['name']}: from score {number(first['score'], 2)} at KL {number(first['kl'], 2)} "
        f"to {number(last['score'], 2)} at KL {number(last['kl'], 2)} in {len(run['points'])} iterations."
    )
