"""What training on preferences without a reward model will cost; as `estimates`, whose table takes this one in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camelid.costs import Cost
from camelid.expected import Left, Reads, Rows


def train_dpo(s: Any, reads: Reads, cost: Cost) -> Left:
    """All pairs are looked at for the reference, the held-out ones once more at the end."""
    shape, rows = reads.shape("model"), reads.rows("preferences")
    cost.load_for_training(shape, s.model)
    _score(s, shape, rows, 2 * (rows.number + s.held_out), cost)
    _train(s, shape, rows, 2 * max(rows.number - s.held_out, 0), 2 * s.batch_size, cost)
    return {"model": shape}


def train_kto(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every answer and its mismatched one are looked at for the reference, the mismatched one once more an epoch."""
    shape = reads.shape("model")
    pairs = reads.rows("preferences") if "preferences" in reads else Rows(0, 0)
    held_out = min(s.held_out, pairs.number)
    alone = [reads.rows(kind) for kind in ("desirable", "undesirable") if kind in reads]
    answers = Rows.join([pairs._replace(number=2 * (pairs.number - held_out)), *alone])
    cost.load_for_training(shape, s.model)
    _score(s, shape, answers, (2 + s.epochs) * answers.number + 4 * held_out, cost)
    _train(s, shape, answers, answers.number, s.batch_size, cost)
    return {"model": shape}


def _score(s: Any, shape: Any, rows: Rows, number: float, cost: Cost) -> None:
    length = min(rows.tokens, s.max_tokens)
    cost.score(shape, number * length, with_head=number * rows.answer_tokens, at_once=s.model.micro_batch_tokens)


def _train(s: Any, shape: Any, rows: Rows, number: float, rows_a_step: int, cost: Cost) -> None:
    length, heads = min(rows.tokens, s.max_tokens), number * s.epochs * rows.answer_tokens
    at = {"step_tokens": rows_a_step * length, "checkpoint_every": s.checkpoint_every}
    cost.train(shape, s.model, number * s.epochs * length, with_head=heads, length=length, **at)


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.train.dpo.train_dpo": train_dpo,
    "camelid.train.kto.train_kto": train_kto,
}
"""By module and name of the stage's function."""
