"""Alpaca rows for benchmarks that train: to train on, to choose a setting by, and to measure on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from camelid.collect.readers import read
from camelid.models.batch import Row
from camelid.models.policy import Policy
from camelid.models.too_long import Lengths, row_limit
from camelid.train.common import split
from camelid.train.sft import SftSettings, demonstration_rows
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
