"""For benchmarks that train on Alpaca rows: the rows, one pass over them, and the file of trainings that are done."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from camelid.collect.readers import read
from camelid.functional.schedules import learning_rate
from camelid.models.batch import Row
from camelid.models.loading import resolve_model
from camelid.models.policy import Policy
from camelid.models.too_long import Lengths, row_limit
from camelid.train.common import batches, split
from camelid.train.sft import SftSettings, demonstration_rows, loss
from camelid.types import Conversation


class Parts(NamedTuple):
    """Conversations with their rows; `tune` and `test` are the same for all seeds."""

    train: list[tuple[Conversation, Row]]
    tune: list[tuple[Conversation, Row]]
    test: list[tuple[Conversation, Row]]


def parts_of(policy: Policy, data: str, rows: int, test_rows: int, seed: int, settings: SftSettings) -> Parts:
    """Rows longer than `settings.max_tokens` are cut at their end."""
    file = Path(data) / "conversations" / "alpaca_random_9k.json"
    kept, held_out = split(read(file, want=Conversation).rows, 2 * test_rows, seed=0)
    limit = row_limit(settings.max_tokens, policy.model.config.max_position_embeddings)
    parts = (split(kept, rows, seed=seed + 1)[1], held_out[:test_rows], held_out[test_rows:])
    return Parts(*(demonstration_rows(policy.chat, part, settings, Lengths("rows", "cut", limit)) for part in parts))


def nll_sums(policy: Policy, rows: list[Row]) -> list[float]:
    """Negative log-likelihood of each row's trained tokens, in nats."""
    return [-float(logprobs.sum()) for logprobs in policy.logprobs(rows)]


def one_pass(policy: Policy, rows: list[Row], batch_size: int, rate: float, seed: int) -> int:
    """Train on every row once, with a warmup of two steps and a cosine; the number of steps."""
    steps = batches(len(rows), batch_size, 1.0, seed)
    for number, step in enumerate(steps):
        metrics = policy.forward_backward([rows[i] for i in step], loss)
        policy.step(learning_rate(number, len(steps), rate, kind="cosine", warmup_steps=2), metrics["count"])
    return len(steps)


class Done:
    """Trainings that are done, a JSON line each: a run that was stopped goes on after them."""

    def __init__(self, file: str):
        self.file = Path(file)
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        self.runs: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def add(self, run: dict[str, Any]) -> None:
        self.runs.append(run)
        with self.file.open("a") as file:
            file.write(json.dumps(run) + "\n")


def parser(description: str | None) -> argparse.ArgumentParser:
    """What these benchmarks take, all of them."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", default="smollm2-135m", type=resolve_model)
    made.add_argument("--data", default=os.environ.get("CAMELID_DATA", ""), help="folder of real data")
    made.add_argument("--seeds", type=int, default=3, choices=range(2, 6))
    made.add_argument("--out", required=True, help="file of finished trainings, a JSON line each")
    return made
