"""Preferences that a tiny model can learn, and the stages that learn them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from camelid.models.model_settings import ModelSettings
from camelid.runs import Settings, Stage, execute, read_manifest
from camelid.types import Preference, Rating, write_records
from tiny import user

WORDS = ("red", "blue", "llama", "France", "Paris", "capital", "colour", "Andes")
LORA = ModelSettings(precision="float32", lora_rank=4, micro_batch_tokens=256)


def preference(a: str, b: str, rating: Rating | None = "better") -> Preference:
    """The second word is the right answer, the first the wrong one."""
    return Preference(
        prompt=user(f"Tell me of {a} and {b}."), chosen=f"It is {b}.", rejected=f"No, {a}!", rating=rating
    )


PREFERENCES = [preference(a, b) for a in WORDS for b in WORDS if a != b]


def write(path: Path, rows: list[Preference] = PREFERENCES) -> Path:
    write_records(path, rows)
    return path


def run_stage(function: Any, settings: Settings, root: Path, **inputs: Any) -> tuple[Path, dict[str, Any], list[dict]]:
    """(directory, metrics, rows of metrics.jsonl)"""
    path = execute([Stage("stage", function, settings, inputs)], root)["stage"]
    manifest = read_manifest(path)
    assert manifest is not None
    return path, manifest["metrics"], [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
