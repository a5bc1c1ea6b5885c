"""What the training loops share: their common settings, the order of the data, learning rates, model cards."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from camelid.functional.schedules import Schedule, learning_rate, warmup
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.too_long import TooLong
from camelid.runs import Run, Settings, derived_seed


class TrainSettings(Settings):
    """Settings of every training stage."""

    model: ModelSettings = ModelSettings()
    """How the model is held and what of it trains."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """AdamW's settings."""
    chat_format: str = "model"
    """`model` for the tokenizer's own template; chatml, llama2, vicuna, alpaca, koala; or a .jinja file."""
    learning_rate: float = Field(default=2e-5, gt=0)
    """Peak learning rate. LoRA wants about ten times that of full weights."""
    schedule: Schedule = "cosine"
    """Shape of the learning rate after warm-up."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises from 0."""
    warmup_fraction: float = Field(default=0.0, ge=0, le=1)
    """Share of all steps that is warm-up, where that is more than `warmup_steps`."""
    final_fraction: float = Field(default=0.1, ge=0, le=1)
    """The learning rate ends at this fraction of its peak."""
    checkpoint_every: int = Field(default=10, ge=1)
    """Steps between checkpoints: what a kill can cost."""

    def learning_rate_at(self, step: int, num_steps: int) -> float:
        """Learning rate of a step, counted from 0."""
        return learning_rate(
            step,
            num_steps,
            self.learning_rate,
            kind=self.schedule,
            warmup_steps=warmup(num_steps, at_least=self.warmup_steps, fraction=self.warmup_fraction),
            final_fraction=self.final_fraction,
        )


class RowSettings(TrainSettings):
    """Settings of stages that train on rows of a conversation each."""

    max_tokens: int = Field(default=1024, ge=8)
    """Longest row; the model's context, where that is shorter."""
    too_long: TooLong = "set_aside"
    """What becomes of longer ones: set_aside (counted, and an error where more than half would go), cut (at the end;
    where nothing to train on would be left, the oldest turns go), or stop."""


def batches(num_rows: int, batch_size: int, epochs: float, seed: int) -> list[list[int]]:
    """Row indices of every step, over all epochs, each epoch shuffled anew; a part of an epoch may be asked for.

    A last batch smaller than half of `batch_size` joins the one before it: a step on a few rows is a noisy step.
    """
    steps: list[list[int]] = []
    for epoch in range(int(-(-epochs // 1))):
        order = list(range(num_rows))
        random.Random(derived_seed(seed, "epoch", epoch)).shuffle(order)
        order = order[: round(num_rows * min(1.0, epochs - epoch))]
        parts = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        if len(parts) > 1 and len(parts[-1]) < batch_size / 2:
            short = parts.pop()
            parts[-1] += short
        steps += parts
    return steps


def in_turn(number: int, batch_size: int, step: int, seed: int) -> list[int]:
    """The `batch_size` rows of a step: pass after pass over all `number` rows, each shuffled anew, cut into batches.

    Fewer rows than `batch_size` repeat within a batch.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    passes: dict[int, list[int]] = {}
    for turn in {place // number for place in places}:
        passes[turn] = list(range(number))
        random.Random(derived_seed(seed, "prompts", turn)).shuffle(passes[turn])
    return [passes[place // number][place % number] for place in places]


def split(items: Sequence[Any], held_out: int, seed: int) -> tuple[list[Any], list[Any]]:
    """(training, held out), by a seeded shuffle; the held-out part has `held_out` items."""
    if held_out >= len(items) and held_out > 0:
        raise ValueError(f"held_out = {held_out} leaves nothing to train on: there are {len(items)} rows")
    order = list(items)
    random.Random(derived_seed(seed, "split")).shuffle(order)
    return order[held_out:], order[:held_out]


def input_files(value: Path | list[Path]) -> Iterator[Path]:
    """The files of an input that may be one path or several."""
    yield from value if isinstance(value, list) else [value]


def model_card(run: Run, what: str, metrics: dict[str, Any]) -> str:
    """A card filled from the run; free of clock times and paths, so that the same run leaves the same files."""
    settings = "\n".join(f"| {key} | `{value}` |" for key, value in run.settings.model_dump(mode="json").items())
    measured = "\n".join(f"| {key} | {value} |" for key, value in metrics.items() if not isinstance(value, dict | list))
    return (
        f"---\nlibrary_name: transformers\ntags: [camelid, {run.label}]\n---\n\n# {what}\n\n"
        f"Trained by camelid, stage `{run.label}`. The stage's manifest names the inputs by their hashes.\n\n"
        f"## Measured\n\n| measure | value |\n|---|---|\n{measured}\n\n"
        f"## Settings\n\n| setting | value |\n|---|---|\n{settings}\n"
    )
