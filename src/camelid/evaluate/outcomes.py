"""Who won: two scores of one judge, as 1, one half or 0. Apart from the stage, so that a report needs no torch."""

from __future__ import annotations


def outcome(gap: float, tie_within: float) -> float:
    """1 for a win, 0 for a loss, one half for a tie."""
    return 0.5 if abs(gap) <= tie_within else float(gap > 0)
