"""Reward models on the answers of version after version: drift away from the training answers, and Goodhart's alarm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from camelid.evaluate.completions import Completion
from camelid.functional.drift import Step, goodhart_step, score_drift
from camelid.functional.statistics import bootstrap_mean


def describe_versions(
    names: Sequence[str],
    completions: Sequence[Sequence[Completion]],
    training: Sequence[float],
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]] | None = None,
) -> dict[str, Any]:
    """Per version mean score and drift; with a second model's scores the alarm of every step and from first to last.

    `completions`, `first`, `second`: per version its answers and their scores. `training`: the first model's scores of
    the answers that it was trained on; their standard deviation is the unit of the first's means, drift and changes.
    The second's are raw. JSON-able.
    """
    spread = float(np.std(training, ddof=1))
    rows = []
    for i, name in enumerate(names):
        drift = score_drift(training, first[i])
        row = {
            "version": name,
            "n": len(first[i]),
            "score": bootstrap_mean(np.asarray(first[i]) / spread)._asdict(),
            "shift": drift.shift._asdict(),
            "outside_training_range": drift.outside._asdict(),
            "ks_distance": drift.ks_distance,
            "ks_by_chance": drift.ks_by_chance,
        }
        if second is not None:
            row["second_score"] = bootstrap_mean(second[i])._asdict()
        rows.append(row)
    results: dict[str, Any] = {"drift": rows}
    if second is not None and len(names) > 1:
        in_spreads = [(np.asarray(scores) / spread).tolist() for scores in first]
        results["goodhart"] = _alarms(names, completions, in_spreads, second)
    return results


def _alarms(
    names: Sequence[str],
    completions: Sequence[Sequence[Completion]],
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
) -> dict[str, Any]:
    """A step from each version to the next, and one from the first to the last, on the prompts that both answered."""
    steps = [(a, b) for a, b in pairwise(range(len(names)))]
    if len(names) > 2:
        steps.append((0, len(names) - 1))
    found = []
    for a, b in steps:
        places = _common(completions[a], completions[b], names[a], names[b])
        before, after = [i for i, _ in places], [j for _, j in places]
        step = goodhart_step(
            [first[a][i] for i in before],
            [first[b][j] for j in after],
            [second[a][i] for i in before],
            [second[b][j] for j in after],
        )
        found.append({"from": names[a], "to": names[b], "n": len(places)} | _as_json(step))
    return {"alarm": any(row["verdict"] == "alarm" for row in found), "steps": found}


def _common(
    before: Sequence[Completion], after: Sequence[Completion], name_before: str, name_after: str
) -> list[tuple[int, int]]:
    """Places of the answers to the prompts that both versions answered; of several answers to a prompt the first."""
    earlier = {c.asked: i for i, c in reversed(list(enumerate(before)))}
    later = {c.asked: j for j, c in reversed(list(enumerate(after)))}
    common = [(i, later[asked]) for asked, i in sorted(earlier.items(), key=lambda item: item[1]) if asked in later]
    if len(common) < 2:
        raise ValueError(
            f"{name_before} and {name_after} answer {len(common)} prompts in common; the alarm needs the same"
        )
    return common


def _as_json(step: Step) -> dict[str, Any]:
    return {"first": step.first._asdict(), "second": step.second._asdict(), "verdict": step.verdict}
