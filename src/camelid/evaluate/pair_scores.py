"""Scores of the two answers of a pair, from a file: whoever has scores needs no model, and no torch.

A row a pair, JSON Lines: `{"id": ..., "chosen": 1.3, "rejected": -0.2}`, found by the pair's id; without `id`, in the
order of the pairs, as many as there are. An evaluation leaves such a file as scores.jsonl.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from camelid.types import Preference


class PairScore(NamedTuple):
    """Scores of the chosen and of the rejected answer, in logits."""

    chosen: float
    rejected: float


def read_pair_scores(path: Path, preferences: Sequence[Preference]) -> list[PairScore]:
    """A score for every preference, in their order. Raises ValueError where one has none, with file, line and mend."""
    rows = [
        (number, _row(path, number, line))
        for number, line in enumerate(path.read_bytes().decode("utf-8").split("\n"), 1)
        if line.strip()
    ]
    if not rows:
        raise ValueError(f"{path} is empty: no scores")
    if any("id" not in row for _, row in rows):
        if len(rows) != len(preferences):
            raise ValueError(
                f"{path} has {len(rows)} rows, some without an id, and there are {len(preferences)} pairs; "
                f"give every row the id of its pair, or one row a pair in their order"
            )
        return [_score(path, number, row) for number, row in rows]
    by_id = {str(row["id"]): _score(path, number, row) for number, row in rows}
    if len(by_id) < len(rows):
        raise ValueError(f"{path} scores {len(rows) - len(by_id)} ids twice; give each pair one row")
    missing = [p.id for p in preferences if p.id not in by_id]
    if missing:
        raise ValueError(
            f"{path} has no score for {len(missing)} of {len(preferences)} pairs; the first is {missing[0]!r}"
        )
    return [by_id[p.id] for p in preferences]


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: no JSON ({error.msg}); one object a line is wanted") from None
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number}: no object; a row is {{id, chosen, rejected}}")
    return row


def _score(path: Path, number: int, row: dict[str, Any]) -> PairScore:
    values = [row.get(name) for name in ("chosen", "rejected")]
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(numbers) < 2:
        raise ValueError(f"{path}, line {number}: chosen and rejected are {values}; both must be numbers, the scores")
    return PairScore(*numbers)
