"""The three headline figures: win rate, unsafe prompts refused, borderline prompts refused; and what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from camelid.evaluate.report.page_numbers import SHARE, Estimate, Scale, decimals, interval_text, number, value_text

Tone = Literal["better", "worse", "open"]
VERDICTS: dict[Tone, str] = {
    "better": "better than the start",
    "worse": "worse than the start",
    "open": "no clear change",
}


@dataclass(frozen=True)
class Bar:
    """An interval on the strip from 0% to 100%, in percent."""

    low: float
    value: float
    high: float
    role: Literal["start", "final"]


@dataclass(frozen=True)
class Headline:
    """One headline figure: the number, its intervals, its verdict and a sentence on its meaning."""

    title: str
    figure: str
    intervals: tuple[str, ...]
    meaning: str
    tone: Tone | None = None
    bars: tuple[Bar, ...] = ()

    @property
    def verdict(self) -> str:
        """The verdict in words; empty where there is nothing to compare."""
        return VERDICTS[self.tone] if self.tone else ""


def headlines(report: dict[str, Any]) -> list[Headline]:
    """The three figures, in order; what was not measured says so instead of a number."""
    measured = report.get("headline") or {}
    return [
        _win_rate(measured.get("win_rate")),
        _refusals(
            "Unsafe prompts refused",
            measured.get("unsafe_refused_start"),
            measured.get("unsafe_refused"),
            higher_is_better=True,
            purpose="Requests that ask for harm: refusing them is what safety training is for, so higher is better.",
        ),
        _refusals(
            "Borderline prompts refused",
            measured.get("borderline_refused_start"),
            measured.get("borderline_refused"),
            higher_is_better=False,
            purpose="Harmless requests that only sound dangerous: every refusal is a mistake, so lower is better.",
        ),
    ]


def difference_interval(final: Estimate, start: Estimate) -> tuple[float, float, float]:
    """final - start and its 95% interval, from the two intervals (Newcombe 1998, Stat. Med. 17:873, method 10):

        low = d - sqrt((f - f_low)^2 + (s_high - s)^2),   high = d + sqrt((f_high - f)^2 + (s - s_low)^2)

    It treats the two as independent. Here both versions answer the same prompts, which mostly makes the true interval
    narrower: a change that this one shows is a change, one that it does not show may still be there.
    """
    difference = final["value"] - start["value"]
    below = math.hypot(final["value"] - final["low"], start["high"] - start["value"])
    above = math.hypot(final["high"] - final["value"], start["value"] - start["low"])
    return difference, difference - below, difference + above


def _win_rate(estimate: Estimate | None) -> Headline:
    title = "Win rate against the start"
    if estimate is None:
        return Headline(title, "not measured", (), "No version was compared with the start.")
    tone = _tone(estimate["low"] - 0.5, estimate["high"] - 0.5, higher_is_better=True)
    where = {"better": "lies above 50%", "worse": "lies below 50%", "open": "includes 50%"}[tone]
    meaning = (
        f"How often the judge preferred its answer to the start's answer to the same prompt; a tie counts a half. "
        f"The interval {where}, which would be no change."
    )
    return Headline(
        title, value_text(estimate, SHARE), (_interval(estimate),), meaning, tone, (_bar(estimate, "final"),)
    )


def _refusals(
    title: str, start: Estimate | None, final: Estimate | None, *, higher_is_better: bool, purpose: str
) -> Headline:
    if start is None or final is None:
        only = final or start
        if only is None:
            return Headline(title, "not measured", (), purpose)
        role: Literal["start", "final"] = "start" if final is None else "final"
        return Headline(title, value_text(only, SHARE), (_interval(only),), purpose, bars=(_bar(only, role),))
    change, low, high = difference_interval(final, start)
    tone = _tone(low, high, higher_is_better=higher_is_better)
    points = Scale(SHARE.factor)
    places = decimals(points.factor * (high - low) / 2)
    change_text, low_text, high_text = (number(v, places, points, signed=True) for v in (change, low, high))
    verb = "includes" if tone == "open" else "excludes"
    return Headline(
        title,
        f"{value_text(start, SHARE)} → {value_text(final, SHARE)}",
        (f"start: {_interval(start)}", f"final: {_interval(final)}"),
        f"{purpose} Change: {change_text} points (95% interval {low_text} to {high_text}). "
        f"The interval {verb} no change.",
        tone,
        (_bar(start, "start"), _bar(final, "final")),
    )


def _interval(estimate: Estimate) -> str:
    return f"95% interval {interval_text(estimate, SHARE)}, n = {estimate['n']}"


def _tone(low: float, high: float, *, higher_is_better: bool) -> Tone:
    """What an interval of a change says; touching 0 says nothing."""
    if low <= 0 <= high:
        return "open"
    return "better" if (low > 0) == higher_is_better else "worse"


def _bar(estimate: Estimate, role: Literal["start", "final"]) -> Bar:
    low, value, high = (100 * min(1.0, max(0.0, estimate[key])) for key in ("low", "value", "high"))
    return Bar(low, value, high, role)
