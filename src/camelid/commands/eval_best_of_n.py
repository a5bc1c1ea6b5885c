"""`camelid eval best-of-n`: what the best of N samples is worth."""

from __future__ import annotations

import argparse
from typing import Any

from camelid.commands import print_json, say
from camelid.evaluate.best_of_n import Point, curve, read_samples
from camelid.functional.statistics import Estimate
from camelid.table import print_table


def best_of_n(arguments: argparse.Namespace) -> int:
    """The curve of E[best of N] with its interval, and a second model's view of what is picked."""
    first = read_samples(arguments.file, arguments.key)
    second = None
    if arguments.second or arguments.second_key:
        second = read_samples(arguments.second or arguments.file, arguments.second_key or arguments.key)
    points = curve(first, second)
    if arguments.json:
        counts = {"num_prompts": len(first), "num_samples": min(len(scores) for scores in first.values())}
        alarm = any(p.step is not None and p.step.verdict == "alarm" for p in points) if second else None
        print_json(counts | {"points": [_as_json(point) for point in points], "alarm": alarm})
        return 0
    columns = ["N", "best of N", "KL at most, nats", *(["second's score", "change", "verdict"] if second else [])]
    print_table(columns, [_row(point) for point in points], right=columns[:-1] if second else columns)
    say(f"{len(first)} prompts, {sum(len(scores) for scores in first.values())} samples; 95% intervals over prompts")
    if any(p.step is not None and p.step.verdict == "alarm" for p in points):
        say("ALARM: the first score rises where the second falls: more samples buy what only the first model likes")
    return 0


def _row(point: Point) -> list[str]:
    row = [str(point.n), _shown(point.best), f"{point.kl_bound:.2f}"]
    if point.second:
        row += [_shown(point.second), *((_shown(point.step.second), point.step.verdict) if point.step else ("", ""))]
    return row


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _as_json(point: Point) -> dict[str, Any]:
    row: dict[str, Any] = {"n": point.n, "best": point.best.value, "interval": [point.best.low, point.best.high]}
    row |= {"standard_error": point.best.standard_error, "kl_bound": point.kl_bound}
    if point.second:
        row |= {"second": point.second.value, "second_interval": [point.second.low, point.second.high]}
    if point.step:
        row |= {"second_change": point.step.second._asdict(), "verdict": point.step.verdict}
    return row
