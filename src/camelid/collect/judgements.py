"""The stage that brings in AlpacaEval's judgements: files of `instruction`, `output_1`, `output_2`, `preference`.

1 means that output_1 won, 2 that output_2 did; numbers between are rounded to the nearer one. Ties (0 and 1.5),
judgements that failed and pairs of one generator with itself are dropped and counted. A judge that learns from these
must be tested on other instructions.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pydantic import Field

from camelid.collect.overlap import Overlap
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Message, Preference, Prompt, Rating, draw, read_records, write_records

FIELDS = ("instruction", "output_1", "output_2", "preference")
STRENGTHS: tuple[tuple[float, Rating], ...] = (
    (0.999, "significantly better"),
    (0.9, "better"),
    (0.5, "slightly better"),
    (0.0, "negligibly better"),
)
"""A rating from the size of 2 p - 3, the judge's probability of its choice less that of the other."""


class JudgementSettings(Settings):
    """Recorded judgements as preferences."""

    max_rows: int = Field(default=500, ge=0)
    """Draw at most so many judgements to train on, by the seed; 0 takes all."""
    max_test_rows: int = Field(default=300, ge=0)
    """The same of those on held-out instructions."""
    max_words: int = Field(default=300, ge=0)
    """Leave out judgements where instruction and the longer answer have more words than this; 0 sets no limit."""
    graded: bool = False
    """Rate the pairs by how sure the judge was (2 p - 3: .999, .9, .5); for files whose preferences are graded."""
    licence: str = "CC-BY-NC-4.0"
    """SPDX name of the files' licence."""


def import_judgements(run: Run) -> dict[str, Any]:
    """Stage: `judgements` (files), optional `held_out` (prompts) -> train.jsonl, test.jsonl, no instruction in both.

    Without `held_out` there is no test.jsonl.
    """
    s: JudgementSettings = run.settings
    files = run.inputs["judgements"] if isinstance(run.inputs["judgements"], list) else [run.inputs["judgements"]]
    asked = read_records(run.inputs["held_out"], Prompt) if "held_out" in run.inputs else []
    held_out = Overlap(p.prompt[-1].content for p in asked)
    parts: dict[str, list[Preference]] = {"train": [], "test": []}
    dropped = {"tie": 0, "failed": 0, "same_generator": 0, "too_long": 0, "empty": 0}
    for file in files:
        for number, row in enumerate(_rows(file), 1):
            outcome = _outcome(row, s, f"{file}, row {number}")
            if isinstance(outcome, str):
                dropped[outcome] += 1
            else:
                parts["test" if held_out.match(row["instruction"]) else "train"].append(outcome)
    drawn = {
        "train": draw(parts["train"], s.max_rows, derived_seed(s.seed, "judgements")),
        "test": draw(parts["test"], s.max_test_rows, derived_seed(s.seed, "judgements")),
    }
    if "held_out" not in run.inputs:
        del drawn["test"]
    for name, rows in drawn.items():
        if not rows:
            raise ValueError(f"no judgement is left to {name} on: {sum(map(len, parts.values()))} were read")
        write_records(run.path / f"{name}.jsonl", rows)
    return {f"num_{name}": len(rows) for name, rows in drawn.items()} | {f"dropped_{k}": v for k, v in dropped.items()}


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}, line {error.lineno}: broken JSON: {error.msg}") from None
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{file} is no list of judgements, or an empty one")
    for number, row in enumerate(rows, 1):
        missing = [field for field in FIELDS if not isinstance(row, dict) or field not in row]
        if missing:
            raise ValueError(f"{file}, row {number}: no {', '.join(missing)}; AlpacaEval's annotations have all four")
    return rows


def _outcome(row: dict[str, Any], s: JudgementSettings, place: str) -> Preference | str:
    """The preference, or why there is none."""
    verdict = row["preference"]
    if verdict is None or (isinstance(verdict, float) and math.isnan(verdict)):
        return "failed"
    if verdict != 0 and not 1 <= verdict <= 2:
        raise ValueError(f"{place}: preference {verdict}; AlpacaEval's codes are 0 and 1 to 2")
    if verdict in (0, 1.5):
        return "tie"
    if row.get("generator_1") and row.get("generator_1") == row.get("generator_2"):
        return "same_generator"
    texts = (row["output_1"], row["output_2"])
    if not all(text.strip() for text in texts):
        return "empty"
    if s.max_words and len(row["instruction"].split()) + max(len(text.split()) for text in texts) > s.max_words:
        return "too_long"
    chosen, rejected = texts if verdict < 1.5 else texts[::-1]
    return Preference(
        prompt=(Message(role="user", content=row["instruction"]),),
        chosen=chosen,
        rejected=rejected,
        rating=next(rating for least, rating in STRENGTHS if abs(2 * verdict - 3) >= least) if s.graded else None,
        source="AlpacaEval",
        licence=s.licence,
        annotator=str(row.get("annotator", "")),
    )
