"""The stage that splits preferences into folds by prompt: no prompt is trained on in one part and asked in another."""

from __future__ import annotations

import random
from typing import Any

from pydantic import Field, model_validator

from camelid.runs import Run, Settings, derived_seed
from camelid.types import Preference, draw, prompt_name, read_records, write_records


class FoldSettings(Settings):
    """One fold of several, which all have the same seed."""

    folds: int = Field(default=5, ge=2)
    """Parts of about as many prompts each."""
    fold: int = Field(default=0, ge=0)
    """Which part is kept for the test; the others train."""
    max_rows: int = Field(default=0, ge=0)
    """Use so many preferences, drawn at random by the seed; 0 for all."""

    @model_validator(mode="after")
    def _there_is_such_a_fold(self) -> FoldSettings:
        if self.fold >= self.folds:
            raise ValueError(f"fold={self.fold}: of {self.folds} folds the last is {self.folds - 1}")
        return self


def split_fold(run: Run) -> dict[str, Any]:
    """Stage: `preferences` -> train.jsonl, test.jsonl. Raises ValueError where there are fewer prompts than folds."""
    s: FoldSettings = run.settings
    given = read_records(run.inputs["preferences"], Preference)
    rows = draw(given, s.max_rows, derived_seed(s.seed, "rows"))
    units = [prompt_name(row.prompt) for row in rows]
    prompts = sorted(set(units))
    if len(prompts) < s.folds:
        raise ValueError(f"{run.inputs['preferences']} has {len(prompts)} prompts, too few for folds={s.folds}")
    random.Random(derived_seed(s.seed, "folds")).shuffle(prompts)
    tested = set(prompts[s.fold :: s.folds])
    parts = {
        "train": [row for row, unit in zip(rows, units, strict=True) if unit not in tested],
        "test": [row for row, unit in zip(rows, units, strict=True) if unit in tested],
    }
    for name, part in parts.items():
        write_records(run.path / f"{name}.jsonl", part)
    return {"num_prompts": len(prompts)} | {f"num_{name}": len(part) for name, part in parts.items()}
