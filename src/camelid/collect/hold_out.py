"""The stage that keeps prompts out of training: some conversations to imitate, others to be asked, none in both.

Training rows that repeat a held-out prompt in other words' order or inside a longer text (`overlap`) are dropped too.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from camelid.collect.overlap import Overlap
from camelid.runs import Run, Settings, derived_seed
from camelid.types import Conversation, Prompt, draw, read_records, write_records


class HoldOutSettings(Settings):
    """Splitting conversations by prompt."""

    held_out: int = Field(default=120, ge=1)
    """Conversations kept from training; their prompts are asked and their answers are the reference."""


def hold_out(run: Run) -> dict[str, Any]:
    """Stage: `conversations` -> train.jsonl, prompts.jsonl (what is asked), reference.jsonl (its answers)."""
    s: HoldOutSettings = run.settings
    rows = read_records(run.inputs["conversations"], Conversation)
    if s.held_out >= len(rows):
        raise ValueError(f"held_out = {s.held_out} leaves nothing to imitate: there are {len(rows)} conversations")
    reference = draw(rows, s.held_out, derived_seed(s.seed, "hold out"))
    kept = {row.id for row in reference}
    asked = [
        Prompt(prompt=row.messages[:-1], id=row.id, source=row.source, licence=row.licence, tags=(*row.tags, "helpful"))
        for row in reference
    ]
    repeated = Overlap(prompt.prompt[-1].content for prompt in asked)
    others = [row for row in rows if row.id not in kept]
    train = [row for row in others if not repeated.match(row.messages[-2].content)]
    write_records(run.path / "train.jsonl", train)
    write_records(run.path / "prompts.jsonl", asked)
    write_records(run.path / "reference.jsonl", reference)
    return {"num_train": len(train), "num_held_out": len(reference), "repeats_dropped": len(others) - len(train)}
