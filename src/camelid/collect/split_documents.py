"""The stage that keeps documents out of training, to measure on them; a text that comes twice is kept once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from camelid.documents import read_documents
from camelid.runs import Run, Settings, derived_seed
from camelid.types import draw


class SplitDocumentsSettings(Settings):
    """Splitting documents."""

    held_out_share: float = Field(default=0.25, gt=0, lt=1)
    """Share of the documents that is kept from training."""


def split_documents(run: Run) -> dict[str, Any]:
    """Stage: `documents` (files of JSON Lines with `text`) -> train.jsonl, held-out.jsonl."""
    s: SplitDocumentsSettings = run.settings
    files = run.inputs["documents"] if isinstance(run.inputs["documents"], list) else [run.inputs["documents"]]
    everything = read_documents(files)
    texts = list(dict.fromkeys(everything))
    if len(texts) < 2:
        raise ValueError("one document cannot be split into training and held-out ones; give at least two")
    number = min(max(round(s.held_out_share * len(texts)), 1), len(texts) - 1)
    held_out = draw(texts, number, derived_seed(s.seed, "held-out documents"))
    kept = set(held_out)
    train = [text for text in texts if text not in kept]
    _write(run.path / "train.jsonl", train)
    _write(run.path / "held-out.jsonl", held_out)
    return {"num_train": len(train), "num_held_out": len(held_out), "repeats_dropped": len(everything) - len(texts)}


def _write(file: Path, texts: list[str]) -> None:
    file.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
