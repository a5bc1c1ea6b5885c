"""The win rate of one model over another from recorded judgements, raw and at equal length, with the judge's biases.

Every judgement counts as one independent unit: a file with several judgements of an instruction gets intervals that are
too narrow, and a note. Judgements that failed are counted and left out; they are no ties.

    result = win_rate_of_file("results/alpaca-7b/annotations.json")
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from camelid.evaluate.alpaca_eval import known_of, notes_on, shown_first
from camelid.evaluate.judgements import Judgement, read_judgements, two_models
from camelid.functional.length_control import length_controlled_win_rate
from camelid.functional.statistics import Estimate, correlation, proportion, win_rate

NUM_RESAMPLES = 1000
"""For the length-controlled rate, which is fitted anew on every resample: about a second for 805 judgements."""


class Biases(NamedTuple):
    """What the judge seems to go by besides quality; None where the file does not tell."""

    longer_preferred: Estimate | None
    """Share of the judgements without a tie, on answers of unequal length, that prefer the longer one."""
    length_correlation: Estimate | None
    """Correlation of the preference for the second answer with its additional length."""
    first_shown_preferred: Estimate | None
    """Share of the judgements without a tie that prefer the answer shown first."""


class WinRate(NamedTuple):
    """Of the second model over the first; shares, not percent."""

    file: str
    model: str
    baseline: str
    rate: Estimate
    standard_error: float
    """Standard deviation over sqrt(n), as AlpacaEval publishes it; NaN for one judgement."""
    wins: int
    losses: int
    ties: int
    num_invalid: int
    length_controlled: Estimate | None
    average_length: float | None
    """Characters, of the model's answers; failed judgements included."""
    biases: Biases
    notes: tuple[str, ...]


def win_rate_of_file(path: str | os.PathLike[str], difficulty: Mapping[str, float] | None = None) -> WinRate:
    """Reads and sums up one file of one pair of models. `difficulty`: see `alpaca_eval.read_difficulty`."""
    judgements = read_judgements(path)
    baseline, model = two_models(path, judgements)
    valid = [j for j in judgements if j.preference is not None]
    if not valid:
        raise ValueError(f"{path}: all {len(judgements)} judgements failed; there is nothing to count")
    outcomes = [j.preference for j in valid if j.preference is not None]
    spread = float(np.std(outcomes, ddof=1)) if len(outcomes) > 1 else math.nan
    lengths = [len(j.second_text) for j in judgements if j.second_text is not None]
    controlled, notes = _length_controlled(path, judgements, difficulty)
    repeated = len(judgements) - len({j.prompt for j in judgements})
    if repeated:
        notes += (f"{repeated} judgements are of an instruction that was judged before; intervals are too narrow",)
    return WinRate(
        file=str(path),
        model=model,
        baseline=baseline,
        rate=win_rate(outcomes),
        standard_error=spread / math.sqrt(len(outcomes)),
        wins=sum(y > 0.5 for y in outcomes),
        losses=sum(y < 0.5 for y in outcomes),
        ties=sum(y == 0.5 for y in outcomes),
        num_invalid=len(judgements) - len(valid),
        length_controlled=controlled,
        average_length=float(np.mean(lengths)) if lengths else None,
        biases=biases_of(valid),
        notes=notes,
    )


def biases_of(judgements: Sequence[Judgement]) -> Biases:
    """Length and position bias of judgements that did not fail."""
    decided = [j for j in judgements if j.preference not in (None, 0.5)]
    unequal = [j for j in decided if j.length_difference]
    longer = sum(_prefers_second(j) == ((j.length_difference or 0) > 0) for j in unequal)
    placed = [(j, first) for j in decided if (first := shown_first(j))]
    shown = sum(_prefers_second(j) == (first == "second") for j, first in placed)
    measured = [(j.preference, j.length_difference) for j in judgements if j.length_difference is not None]
    return Biases(
        longer_preferred=proportion(longer, len(unequal)) if unequal else None,
        length_correlation=correlation(*zip(*measured, strict=True)) if len(measured) > 3 else None,
        first_shown_preferred=proportion(shown, len(placed)) if placed else None,
    )


def _prefers_second(judgement: Judgement) -> bool:
    return (judgement.preference or 0.0) > 0.5


def _length_controlled(
    path: str | os.PathLike[str], judgements: Sequence[Judgement], difficulty: Mapping[str, float] | None
) -> tuple[Estimate | None, tuple[str, ...]]:
    """The rate at equal length over the judgements that did not fail and have both texts, and what to know of it."""
    rows = [(i, j) for i, j in enumerate(judgements) if j.preference is not None and j.length_difference is not None]
    without = sum(j.preference is not None for j in judgements) - len(rows)
    if len(rows) < 2:
        return None, ("no length-controlled win rate: fewer than two judgements have both texts",)
    used = [j for _, j in rows]
    given = None if difficulty is None else [_difficulty(path, difficulty, i, len(judgements), j) for i, j in rows]
    notes = notes_on(used, len(judgements), difficulty_given=difficulty is not None)
    if without:
        notes += (f"{without} judgements without both texts are in no figure on length",)
    estimate = length_controlled_win_rate(
        [j.preference for j in used if j.preference is not None],
        [j.length_difference for j in used if j.length_difference is not None],
        known_of(used, len(judgements), given),
        num_resamples=NUM_RESAMPLES,
    )
    return estimate, notes


def _difficulty(
    path: str | os.PathLike[str], difficulty: Mapping[str, float], row: int, num_rows: int, judgement: Judgement
) -> float:
    found = difficulty.get(judgement.prompt)
    # By row number only where no row is missing: all rows behind a missing one would get their neighbour's.
    if found is None and len(difficulty) == num_rows:
        found = difficulty.get(str(row))
    if found is None:
        raise ValueError(
            f"{path}, row {row + 1}: the difficulty file does not have its instruction, nor one row for each of this "
            f"file ({len(difficulty)} against {num_rows})"
        )
    return found
