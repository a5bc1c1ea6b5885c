"""Scores of the two answers of a pair, from a file: whoever has scores needs no model, and no torch.

A row a pair, JSON Lines: `{"id": ..., "chosen": 1.3, "rejected": -0.2}`, found by the pair's id; without `id`, in the
order of the pairs, as many as there are. An evaluation leaves such a file as scores.jsonl.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from camelid.rows import Row, finite, read_rows
from camelid.types import Preference


class PairScore(NamedTuple):
    """Scores of the chosen and of the rejected answer, in logits."""

    chosen: float
    rejected: float


def read_pair_scores(path: Path, preferences: Sequence[Preference]) -> list[PairScore]:
    """A score for every preference, in their order. Raises ValueError where one has none, with file, line and mend."""
    rows = read_rows(path, "id, chosen and rejected")
    if any("id" not in row.values for row in rows):
        if len(rows) != len(preferences):
            raise ValueError(
                f"{path} has {len(rows)} rows, some without an id, and there are {len(preferences)} pairs; "
                f"give every row the id of its pair, or one row a pair in their order"
            )
        return [_score(row) for row in rows]
    by_id = {str(row.values["id"]): _score(row) for row in rows}
    if len(by_id) < len(rows):
        raise ValueError(f"{path} scores {len(rows) - len(by_id)} ids twice; give each pair one row")
    missing = [p.id for p in preferences if p.id not in by_id]
    if missing:
        raise ValueError(
            f"{path} has no score for {len(missing)} of {len(preferences)} pairs; the first is {missing[0]!r}"
        )
    return [by_id[p.id] for p in preferences]


def _score(row: Row) -> PairScore:
    values = [row.values.get(name) for name in ("chosen", "rejected")]
    numbers = [number for value in values if (number := finite(value)) is not None]
    if len(numbers) < 2:
        raise ValueError(f"{row.place}: chosen and rejected are {values}; both must be numbers, the scores")
    return PairScore(*numbers)
