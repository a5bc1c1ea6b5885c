"""Safety data scaling: all helpful rows and a given share of the safety rows, each larger share with the smaller in it.

LLaMA-2 trained models with 0, 1, 10, 25, 50 and 100% of its safety rows beside the same helpful ones
(arXiv:2307.09288, section 4.2.3). Train on what this leaves, and measure with `evaluate-safety`.

    camelid safety-share --helpful helpful.jsonl --safety safety.jsonl --set share=0.25
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, draw, read_records, write_records


class ShareSettings(Settings):
    """Safety data scaling."""

    share: float = Field(default=1.0, ge=0, le=1)
    """Share of the safety rows, drawn at random by the seed; LLaMA-2: 0, 0.01, 0.1, 0.25, 0.5, 1."""


def safety_share(run: Run) -> dict[str, Any]:
    """Stage: `helpful`, `safety` (files of conversations) -> rows.jsonl: all of the first, a share of the second."""
    s: ShareSettings = run.settings
    helpful, safety = (_read(run.inputs[name]) for name in ("helpful", "safety"))
    both = {row.id for row in helpful} & {row.id for row in safety}
    if both:
        raise ValueError(f"{len(both)} rows are helpful and safety rows, such as {min(both)}: give each in one file")
    number = round(s.share * len(safety))
    if s.share and not number:
        raise ValueError(f"share = {s.share:g} of {len(safety)} safety rows is less than one row; give a larger share")
    drawn = draw(safety, number, derived_seed(s.seed, "safety share")) if number else []
    write_records(run.path / "rows.jsonl", [*helpful, *drawn])
    return {"num_helpful": len(helpful), "num_safety": len(drawn), "safety_rows_in_all": len(safety)}


def _read(files: Path | list[Path]) -> list[Conversation]:
    return [row for file in (files if isinstance(files, list) else [files]) for row in read_records(file, Conversation)]
