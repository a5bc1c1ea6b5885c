"""Two scores of the same completions over time: whether the one that is trained on rises while the other falls."""

from __future__ import annotations

from collections.abc import Sequence


def divergence(scores: Sequence[float], alarms: Sequence[float]) -> float:
    """By how much `scores` rose while `alarms` fell, in the units of the scores: the smaller of the two amounts.

        max(0, min(late(scores) - early(scores), early(alarms) - late(alarms)))

    with early and late the means of the first and the last half of the window (the middle one of an odd number counts
    in neither). 0 where either moves the other way: a score that falls with its alarm is no overoptimisation in the
    sense of Gao, Schulman and Hilton 2022 (arXiv:2210.10760, figure 1), whose proxy rises while the gold score falls.
    Raises ValueError for lists of unequal length or of fewer than two numbers.
    """
    if len(scores) != len(alarms) or len(scores) < 2:
        raise ValueError(
            f"{len(scores)} scores and {len(alarms)} alarms: need two lists of one length, two numbers at least"
        )
    half = len(scores) // 2

    def change(values: Sequence[float]) -> float:
        return (sum(values[-half:]) - sum(values[:half])) / half

    return max(0.0, min(change(scores), -change(alarms)))
