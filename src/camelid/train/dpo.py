"""Direct preference optimization: the policy learns from pairs, without a reward model and without sampling.

The reference is the start model; its log-probabilities are taken once, before the first step. The two rows of a pair
go through the model side by side. What to watch: `chosen_logprob` mostly falls, since the loss asks only that it falls
less than `rejected_logprob`; `drift` says how far the policy has gone.
Left out: an added likelihood loss on the chosen answers, a reference that moves, losses without a reference (SimPO).

    camelid dpo --model smollm2-135m --preferences rows.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from camelid.durable import write_json
from camelid.functional.pair_accuracy import wins
from camelid.functional.ranking import margin_of
from camelid.models.batch import Row
from camelid.models.policy import Policy
from camelid.models.too_long import Lengths, row_limit
from camelid.runs import Run, derived_seed
from camelid.train.common import RowSettings, batches, model_card, split
from camelid.train.pair_loss import (
    PairLogprobs,
    PairLossSettings,
    pair_logprobs,
    pair_logs,
    pair_loss,
    summed_loss,
)
from camelid.train.pairs import accuracy_beside_floors, pair_rows, paired, read_preferences, unzipped
from camelid.train.reference import summed, summed_reference, with_reference
from camelid.types import Preference


class DpoSettings(RowSettings, PairLossSettings):
    """Direct preference optimization."""

    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate, for adapters; Rafailov et al. took 1e-6 for full weights (arXiv:2305.18290, appendix B)."""
    batch_size: int = Field(default=16, ge=1)
    """Pairs a step; Rafailov et al. took 64."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the preferences."""
    margins: Literal["none", "small", "large"] = "none"
    """Gap of implicit rewards that a rating asks for, by LLaMA-2's table: none, small (1, 2/3, 1/3, 0) or large
    (3, 2, 1, 0); DPO with an offset."""
    held_out: int = Field(default=50, ge=0)
    """Preferences kept from training to measure accuracy on."""

    @model_validator(mode="after")
    def _one_loss(self) -> Self:
        changed = [self.loss == "ipo", self.label_smoothing > 0, self.margins != "none"]
        if sum(changed) > 1:
            raise ValueError("loss=ipo, label_smoothing and margins are three losses; choose one of them")
        return self


def train_dpo(run: Run) -> dict[str, Any]:
    """Stage: `model`, `preferences` (one or several files) -> model/, accuracy.json."""
    s: DpoSettings = run.settings
    policy = Policy.load_for_training(
        run.inputs["model"], s.model, s.optimizer, seed=derived_seed(s.seed, "adapters"), chat_format=s.chat_format
    )
    preferences = read_preferences(run.inputs["preferences"])
    lengths = Lengths("preferences", s.too_long, row_limit(s.max_tokens, policy.model.config.max_position_embeddings))
    found = pair_rows(policy.chat, preferences, lengths)
    too_long = lengths.finish(run, len(preferences))
    (train, pairs), (held_out, held_out_pairs) = map(unzipped, split(found, s.held_out, s.seed))
    rows = [row for pair in (*pairs, *held_out_pairs) for row in pair]
    pairs = list(paired(with_reference(run, policy, rows)))
    pairs, held_out_pairs = pairs[: len(train)], pairs[len(train) :]
    offsets = [margin_of(p.rating, s.margins) for p in train]

    steps = batches(len(pairs), s.batch_size, s.epochs, s.seed)
    policy.compile_for(sum(len(row.ids) for step in steps for i in step for row in pairs[i]))
    start = run.resume(policy.load_state)
    if start == 0 and held_out:
        run.log(0, **measure(reference_of(held_out_pairs, s), s))
    with run.progress("steps", len(steps), start) as tick:
        for step in range(start, len(steps)):
            loss = partial(pair_loss, s=s, offsets=[offsets[i] for i in steps[step]])
            metrics = policy.forward_backward_groups([pairs[i] for i in steps[step]], loss)
            rate = s.learning_rate_at(step, len(steps))
            norm = policy.step(rate, metrics["count"])
            run.log(step + 1, **metrics, learning_rate=rate, gradient_norm=norm)
            if (step + 1) % s.checkpoint_every == 0:
                run.checkpoint(step + 1, policy.save_state)
            tick(1)

    results: dict[str, Any] = {
        "num_train": len(train),
        "num_held_out": len(held_out),
    } | too_long
    if held_out:
        now = on_pairs(policy, held_out_pairs, s)
        run.log(len(steps), **measure(now, s))
        results |= measure(now, s) | accuracy(now, train, held_out, s)
    write_json(run.path / "accuracy.json", results)
    policy.save(run.path / "model", model_card(run, "Language model after direct preference optimization", results))
    return results


def measure(pairs: PairLogprobs, s: DpoSettings) -> dict[str, float]:
    """Means over held-out pairs of what the steps log, without the margins by rating in the loss."""
    total, count = summed_loss(pairs, pairs.chosen.new_zeros(len(pairs.chosen)), s)
    means = {"loss": total / count} | {name: value.mean() for name, value in pair_logs(pairs, s).items()}
    return {f"held_out_{name}": value.item() for name, value in means.items()}


def accuracy(
    pairs: PairLogprobs, train: Sequence[Preference], held_out: Sequence[Preference], s: DpoSettings
) -> dict[str, Any]:
    """Accuracy of implicit rewards beside the floors, among them the start model's own likelihood."""
    logs = pair_logs(pairs, s)
    rewards = logs["chosen_reward"].numpy(), logs["rejected_reward"].numpy()
    likelier = wins(pairs.ref_chosen.numpy(), pairs.ref_rejected.numpy())
    return accuracy_beside_floors(*rewards, train, held_out, likelier_at_start_wins=likelier)


def on_pairs(policy: Policy, pairs: Sequence[tuple[Row, Row]], s: DpoSettings) -> PairLogprobs:
    """Of pairs as the policy and the reference see them."""
    rows = [row for pair in pairs for row in pair]
    return pair_logprobs(summed(policy, rows), summed_reference(rows), _lengths(rows), s)


def reference_of(pairs: Sequence[tuple[Row, Row]], s: DpoSettings) -> PairLogprobs:
    """As `on_pairs` before the first step, when the policy is the reference."""
    rows = [row for pair in pairs for row in pair]
    reference = summed_reference(rows)
    return pair_logprobs(reference, reference, _lengths(rows), s)


def _lengths(rows: Sequence[Row]) -> Tensor:
    return torch.tensor([sum(row.loss_mask) for row in rows])
