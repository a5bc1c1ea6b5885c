"""A few rows of a large pool, by quality and by diversity, with the numbers of why each was taken.

LIMA's two criteria (Zhou et al. 2023, arXiv:2305.11206, section 2) as numbers: the better part of the pool by a score
(`camelid grade` writes some: difficulty, a reward model's, a teacher's grade), and of that the rows that lie apart.

    camelid grade --rows pool.jsonl --model smollm2-135m
    camelid select --rows pool.jsonl --scores grades.jsonl --set quality=ifd --set number=1000
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from camelid.curate.points import PointSettings, points_of
from camelid.curate.pool import answers_in, files_of, instruction_of, read_pool, text_of_row
from camelid.durable import write_json_lines
from camelid.functional.k_means import k_means
from camelid.functional.subset import Chosen, facility_location, k_centre
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Record, iterate_json_lines, write_records


class SelectSettings(Settings):
    """Choosing rows by quality and diversity."""

    kind: Literal["conversations", "prompts", "preferences", "rankings"] = "conversations"
    """What the files hold."""
    number: int = Field(default=1000, ge=1)
    """How many rows to take."""
    quality: str = "length"
    """Column of `scores` that tells quality, the higher the better; `length`: words of the answers; empty: none."""
    min_quality: float | None = None
    """Rows below it are not taken, such as 4.5 of a grade up to 5 (AlpaGasus)."""
    max_quality: float | None = None
    """Rows above it are not taken, such as 1 of the instruction-following difficulty (Cherry)."""
    best_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the rest, the best by quality, among which diversity chooses; at least `number` rows."""
    diversity: Literal["k_centre", "facility_location", "clusters", "none"] = "k_centre"
    """k_centre: the row farthest from those taken; facility_location: the row that stands for most others; clusters:
    the best of each of `number` clusters; none: the best by quality."""
    compare: Literal["row", "instruction"] = "instruction"
    """Whole rows, answers included, or the user's first turn alone, where rows are compared."""
    points: PointSettings = PointSettings()

    @model_validator(mode="after")
    def _one_of_both(self) -> SelectSettings:
        if not self.quality and self.diversity == "none":
            raise ValueError("quality is empty and diversity is none: nothing to choose by")
        return self


class Why(NamedTuple):
    """A row that was taken, and its numbers."""

    id: str
    place: int
    """1 for the first taken."""
    quality: float | None
    quality_rank: int | None
    """1 for the best of the pool."""
    gain: float | None
    """What diversity says of it; `Chosen` tells what that is."""


def select_rows(run: Run) -> dict[str, Any]:
    """Stage: `rows`, optional `scores` (rows with id) and `model` -> rows.jsonl, why.jsonl, in the order taken."""
    s: SelectSettings = run.settings
    rows = read_pool(run, s.kind)
    scores = _quality(run, rows, s)
    able = [i for i, q in enumerate(scores) if _passes(q, s)]
    best = sorted(able, key=lambda i: -scores[i] if s.quality else 0.0)
    ranks = {i: rank for rank, i in enumerate(best, 1)}
    pool = best[: max(math.ceil(s.best_share * len(best)), s.number)] if s.quality else best
    if len(pool) < s.number:
        raise ValueError(f"number = {s.number}, but {len(pool)} of {len(rows)} rows pass; lower it or the bounds")
    taken = _diverse(run, rows, pool, s)
    write_records(run.path / "rows.jsonl", (rows[i] for i, _ in taken))
    why = [
        Why(rows[i].id, place, scores[i] if s.quality else None, ranks[i] if s.quality else None, gain)
        for place, (i, gain) in enumerate(taken, 1)
    ]
    write_json_lines(run.path / "why.jsonl", (one._asdict() for one in why))
    found = {"read": len(rows), "within_bounds": len(able), "kept": len(taken)}
    if s.quality:
        mean = {
            "mean_quality_read": float(np.mean(scores)),
            "mean_quality_kept": float(np.mean([scores[i] for i, _ in taken])),
        }
        return found | mean
    return found


def _quality(run: Run, rows: Sequence[Record], s: SelectSettings) -> list[float]:
    """One number a row; 0 where none is asked for. Raises ValueError for a row without."""
    if not s.quality:
        return [0.0] * len(rows)
    if s.quality == "length":
        return [float(sum(len(answer.split()) for answer in answers_in(row))) for row in rows]
    if "scores" not in run.inputs:
        raise ValueError(f"quality = {s.quality}: give the file that has it as the input scores")
    known: dict[str, float] = {}
    for file in files_of(run.inputs["scores"]):
        for number, line in enumerate(iterate_json_lines(file), 1):
            value = line.get(s.quality)
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                columns = ", ".join(key for key in line if key != "id")
                raise ValueError(f"{file}, line {number}: {s.quality} is {value!r}, no number; there are {columns}")
            known[str(line.get("id"))] = float(value)
    missing = [row.id for row in rows if row.id not in known]
    if missing:
        raise ValueError(f"{len(missing)} of {len(rows)} rows have no {s.quality}, the first of them {missing[0]}")
    return [known[row.id] for row in rows]


def _passes(quality: float, s: SelectSettings) -> bool:
    low, high = s.min_quality, s.max_quality
    return (low is None or quality >= low) and (high is None or quality <= high)


def _diverse(run: Run, rows: Sequence[Record], pool: list[int], s: SelectSettings) -> list[tuple[int, float | None]]:
    """Rows by their places, best first in `pool`, with what diversity says of each."""
    if s.diversity == "none":
        return [(i, None) for i in pool[: s.number]]
    texts = [text_of_row(rows[i]) if s.compare == "row" else instruction_of(rows[i]) for i in pool]
    points = points_of(run, texts, s.points)
    if s.diversity == "clusters":
        return [(pool[i], None) for i in _best_of_clusters(points, s)]
    taken: list[Chosen] = (k_centre if s.diversity == "k_centre" else facility_location)(points, s.number)
    return [(pool[one.place], one.gain if math.isfinite(one.gain) else None) for one in taken]


def _best_of_clusters(points: NDArray[np.float64], s: SelectSettings) -> list[int]:
    """Round after round the best row of each cluster that is not taken yet, largest clusters first."""
    labels = k_means(points, s.number, derived_seed(s.seed, "clusters"), starts=1).labels
    waiting = [np.flatnonzero(labels == k).tolist() for k in range(int(labels.max()) + 1)]
    taken: list[int] = []
    while len(taken) < s.number:
        taken += [cluster.pop(0) for cluster in waiting if cluster]
    return taken[: s.number]
