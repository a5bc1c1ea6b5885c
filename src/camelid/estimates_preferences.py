"""What training on preferences will cost; as `estimates`, whose table takes this one in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camelid.costs import Cost
from camelid.expected import Left, Reads, Rows


def train_reward(s: Any, reads: Reads, cost: Cost) -> Left:
    """After the steps it looks at the held-out verdicts, at as many that it trained on, and at what the scale is by.

    A prompt is counted with each of its answers, though the model reads it once.
    """
    shape = reads.shape("model").as_reward_model(s.num_layers)
    found = []
    if "preferences" in reads or "rankings" not in reads:
        found.append(reads.rows("preferences")._replace(answers=2))
    if "rankings" in reads:
        found.append(reads.rows("rankings"))
    rows = Rows.join(found)
    length = min(rows.tokens, s.max_tokens)
    # Which rows are tagged unsafe is not known before the run: 37% of the starter set's are.
    number = rows.number * {"all": 1.0, "unsafe": 0.37, "other": 0.63}[s.prompts]
    trained = max(number - s.held_out, 0)
    cost.load_for_training(shape, s.model)
    tokens, step = rows.answers * trained * s.epochs * length, rows.answers * s.batch_size * length
    cost.train(shape, s.model, tokens, length=length, step_tokens=step, checkpoint_every=s.checkpoint_every)
    at_once = s.model.micro_batch_tokens
    cost.score(shape, rows.answers * (s.held_out + min(s.held_out, trained)) * length, at_once=at_once)
    for name, answers in (("samples", 2), ("demonstrations", 1)):
        if name in reads:
            cost.score(shape, answers * reads.rows(name).number * reads.rows(name).tokens, at_once=at_once)
    return {"model": shape}


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
    "camelid.train.reward.train_reward": train_reward,
    "camelid.train.dpo.train_dpo": train_dpo,
    "camelid.train.kto.train_kto": train_kto,
}
"""By module and name of the stage's function."""
