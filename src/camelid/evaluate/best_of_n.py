"""What the best of N samples is worth along N, and what a second model thinks of the samples that the first one picks.

The scores come from a file: rows of `prompt_id` and a score, as the stage `best` leaves them in samples.jsonl, or K
scores a prompt as a list (`[[0.1, 0.7], ...]`, a list a line, or rows of `scores`). Sampling and scoring are not done
here.

    samples = read_samples("samples.jsonl")
    for point in curve(samples): print(point.n, point.best, point.kl_bound)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from camelid.functional.best_of_n import best_of_n_kl_bound, expected_best_of_n, expected_second_score
from camelid.functional.drift import Step, goodhart_step
from camelid.functional.statistics import Estimate, bootstrap_mean
from camelid.rows import Value, finite, read_values

Scores = dict[str, list[float]]
"""The scores of each prompt's samples, by prompt, in the order of the file."""


class Point(NamedTuple):
    """Best of n, over prompts."""

    n: int
    best: Estimate
    kl_bound: float
    """log n - (n - 1) / n nats: no less than the divergence of the best of n from the policy."""
    second: Estimate | None
    """The second model's score of what the first picks."""
    step: Step | None
    """The change from the point before."""


def curve(first: Scores, second: Scores | None = None) -> list[Point]:
    """Points at n = 1, 2, 4 ... up to the fewest samples of any prompt, and there. Intervals resample prompts.

    Raises ValueError where `second` does not score the same samples of the same prompts.
    """
    if second is not None:
        check_same(first, second)
    fewest = min(len(scores) for scores in first.values())
    points: list[Point] = []
    before: tuple[list[float], list[float]] | None = None
    for n in sizes(fewest):
        best = [expected_best_of_n(scores, n) for scores in first.values()]
        others = (
            [expected_second_score(a, b, n) for a, b in zip(first.values(), second.values(), strict=True)]
            if second
            else []
        )
        step = goodhart_step(before[0], best, before[1], others) if before and others else None
        points.append(
            Point(n, bootstrap_mean(best), best_of_n_kl_bound(n), bootstrap_mean(others) if others else None, step)
        )
        before = best, others
    return points


def sizes(most: int) -> list[int]:
    """1, 2, 4 ... and `most`."""
    return sorted({most, *(2**i for i in range(most.bit_length()))})


def check_same(first: Scores, second: Scores) -> None:
    """Raise ValueError unless both score the same number of samples of the same prompts, in one order."""
    if list(first) != list(second):
        odd = next((a for a, b in zip(first, second, strict=False) if a != b), "the end")
        raise ValueError(f"the two files part at prompt {odd}: they must score the same samples in the same order")
    for prompt, scores in first.items():
        if len(scores) != len(second[prompt]):
            raise ValueError(
                f"prompt {prompt} has {len(scores)} scores and {len(second[prompt])} second scores; give one a sample"
            )


def read_samples(path: str | Path, key: str = "score") -> Scores:
    """The scores in a file. Raises ValueError with file, row and mend where a row has none, or the file is empty."""
    found: Scores = {}
    values = read_values(path)
    if values and all(isinstance(value, int | float) for _, _, value in values):
        values = [Value(1, f"{path}, row 1", [value for _, _, value in values])]  # the scores of one prompt
    for number, place, row in values:
        if isinstance(row, list):
            found[f"row {number}"] = _numbers(place, row)
        elif isinstance(row, dict) and "scores" in row and key == "score":
            name = str(row.get("prompt_id", row.get("id", f"row {number}")))
            if name in found:
                raise ValueError(f"{place}: prompt {name} has a list of scores already; give each prompt one row")
            found[name] = _numbers(place, row["scores"])
        elif isinstance(row, dict) and "prompt_id" in row and key in row:
            found.setdefault(str(row["prompt_id"]), []).extend(_numbers(place, [row[key]]))
        else:
            keys = f"its keys are {', '.join(row)}" if isinstance(row, dict) else f"it is {json.dumps(row)[:40]}"
            raise ValueError(f"{place}: no scores ({keys}); a row has prompt_id and {key}, or is a list of numbers")
    if not found:
        raise ValueError(f"{path} holds no scores")
    return found


def _numbers(place: str, values: Any) -> list[float]:
    if not isinstance(values, list) or not values:
        raise ValueError(f"{place}: its scores are {json.dumps(values)[:40]}; a list of numbers is wanted")
    numbers = []
    for value in values:
        number = finite(value)
        if number is None:
            raise ValueError(f"{place}: {value!r:.40} is no score; every sample needs a finite number")
        numbers.append(number)
    return numbers
