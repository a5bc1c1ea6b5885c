"""Which settings make a training stage fit a device: its plan under other ways of holding the model.

Left out, as camelid has none of them: quantised weights, weights spread over devices, optimizer states in fewer bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from camelid.expected import Known
from camelid.plan import Devices, Line, estimate_stage
from camelid.plan_shown import fits
from camelid.runs import Stage
from camelid.table import print_table, shown_bytes, shown_seconds

FEWER_TOKENS = 4
"""The smaller micro-batch is so many times smaller."""


def ways(stage: Stage, known: Known, devices: Devices) -> list[tuple[dict[str, Any], Line]]:
    """Settings of `model` and the plan under each, those of the stage first; empty for a stage that trains nothing."""
    model = getattr(stage.settings, "model", None)
    if not estimate_stage(stage, known, devices).cost.recomputed:
        return []
    asked = {name: getattr(model, name) for name in ("lora_rank", "checkpointing", "micro_batch_tokens")}
    small = max(asked["micro_batch_tokens"] // FEWER_TOKENS, 256)
    changes = [asked]
    for rank in (0, asked["lora_rank"] or 16):
        for checkpointing, tokens in (("never", asked["micro_batch_tokens"]), ("always", asked["micro_batch_tokens"])):
            changes.append({"lora_rank": rank, "checkpointing": checkpointing, "micro_batch_tokens": tokens})
        changes.append({"lora_rank": rank, "checkpointing": "always", "micro_batch_tokens": small})
    distinct = [change for i, change in enumerate(changes) if change not in changes[:i]]
    return [(change, estimate_stage(_changed(stage, change), known, devices)) for change in distinct]


def print_ways(found: Sequence[tuple[dict[str, Any], Line]]) -> None:
    """A row a way: memory, time, whether it fits."""
    rows = []
    for change, line in found:
        trains = f"LoRA, rank {change['lora_rank']}" if change["lora_rank"] else "full weights"
        again = line.cost.recomputed
        rows.append(
            [
                trains,
                change["checkpointing"],
                f"{again['layers']} of {again['of']}",
                str(change["micro_batch_tokens"]),
                _or_unknown(line.cost.memory_bytes, shown_bytes),
                _or_unknown(line.seconds, shown_seconds),
                {True: "yes", False: "no", None: "unknown"}[fits(line)],
            ]
        )
    print("\nThe first row is what was asked for; model.lora_rank, model.checkpointing, model.micro_batch_tokens.\n")
    columns = ("trains", "checkpointing", "layers again", "micro-batch", "memory", "time", "fits")
    print_table(columns, rows, right=columns[2:6])


def _changed(stage: Stage, change: dict[str, Any]) -> Stage:
    settings: Any = stage.settings
    model = settings.model.model_copy(update=change)
    return Stage(stage.name, stage.function, settings.model_copy(update={"model": model}), stage.inputs)


def _or_unknown(number: float, shown: Any) -> str:
    return "unknown" if math.isnan(number) else shown(number)
