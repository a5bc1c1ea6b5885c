"""A reward model from preferences: ranking loss with LLaMA-2's margins, accuracy by rating beside honest baselines.

Left out: LLaMA-2's auxiliary safety loss, K-wise rankings.

    camelid reward --model smollm2-135m --preferences rows.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from camelid.durable import write_json
from camelid.functional.ranking import margin_of, ranking_loss
from camelid.models.batch import Row
from camelid.models.reward_model import RewardModel
from camelid.models.rewards import UNSAFE, is_unsafe
from camelid.models.too_long import Lengths, row_limit
from camelid.runs import Run, derived_seed
from camelid.train.common import RowSettings, batches, model_card, split
from camelid.train.pairs import accuracy_beside_floors, completion_rows, pair_rows, read_preferences, unzipped
from camelid.types import Comparison, Preference, read_records


class RewardSettings(RowSettings):
    """Reward model."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak learning rate; LLaMA-2 took 1e-5 for full weights (arXiv:2307.09288, section 3.2.2)."""
    batch_size: int = Field(default=16, ge=1)
    """Pairs a step; LLaMA-2 took 512."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the preferences; more than one overfits (LLaMA-2, InstructGPT)."""
    margins: Literal["none", "small", "large"] = "small"
    """LLaMA-2's margin a rating: none, small (1, 2/3, 1/3, 0) or large (3, 2, 1, 0)."""
    num_layers: int | None = Field(default=None, ge=1)
    """Keep only the first layers of the trunk; None keeps all."""
    prompts: Literal["all", "unsafe", "other"] = "all"
    """Which preferences train: all, those on prompts tagged unsafe, or the others. A safety and a helpfulness reward
    model are two stages (LLaMA-2, section 3.2.2)."""
    held_out: int = Field(default=50, ge=0)
    """Preferences kept from training to measure accuracy on."""


def train_reward(run: Run) -> dict[str, Any]:
    """Stage: `model`, `preferences` (files), optional `samples` (comparisons) -> model/, accuracy.json.

    With `samples`, scores are shifted and scaled to mean 0 and standard deviation 1 on those completions of the policy.
    """
    s: RewardSettings = run.settings
    reward = RewardModel.create(
        run.inputs["model"],
        s.model,
        s.optimizer,
        num_layers=s.num_layers,
        seed=derived_seed(s.seed, "head"),
        chat_format=s.chat_format,
    )
    everything = read_preferences(run.inputs["preferences"])
    preferences = [p for p in everything if concerns(p, s.prompts)]
    if not preferences:
        raise ValueError(
            f"none of {len(everything)} preferences is for a reward model with prompts={s.prompts}: tag the dangerous "
            f"ones `{UNSAFE}`, or train one reward model for all (in a recipe, round.two_reward_models=false)"
        )
    limit = row_limit(s.max_tokens, reward.model.config.max_position_embeddings)
    lengths = Lengths("preferences", s.too_long, limit)
    found = pair_rows(reward.chat, preferences, lengths)
    too_long = lengths.finish(run, len(preferences))
    (train, pairs), (held_out, held_out_pairs) = map(unzipped, split(found, s.held_out, s.seed))
    margins = torch.tensor([margin_of(p.rating, s.margins) for p in train])

    steps = batches(len(pairs), s.batch_size, s.epochs, s.seed)
    reward.compile_for(sum(len(row.ids) for step in steps for i in step for row in pairs[i]))
    start = run.resume(reward.load_state)
    with run.progress("steps", len(steps), start) as tick:
        for step in range(start, len(steps)):
            batch = torch.tensor(steps[step])
            metrics = reward.forward_backward(
                [pairs[i] for i in steps[step]],
                partial(margin_loss, margins=margins[batch]),
            )
            rate = s.learning_rate_at(step, len(steps))
            norm = reward.step(rate, metrics["count"])
            run.log(step + 1, **metrics, learning_rate=rate, gradient_norm=norm)
            if (step + 1) % s.checkpoint_every == 0:
                run.checkpoint(step + 1, reward.save_state)
            tick(1)

    if "samples" in run.inputs:
        comparisons = read_records(run.inputs["samples"], Comparison)
        comparisons = [c for c in comparisons if concerns(c, s.prompts)] or comparisons
        samples = Lengths("samples", s.too_long, limit)
        rows = sample_rows(reward, comparisons, samples)
        too_long |= {f"samples_{name}": n for name, n in samples.finish(run, len(comparisons)).items()}
        reward.standardise_on(reward.score(rows))
    results: dict[str, Any] = {"num_train": len(train), "num_held_out": len(held_out)} | too_long
    if held_out:
        scores = reward.score([row for pair in held_out_pairs for row in pair]).view(-1, 2)
        results |= accuracy_beside_floors(scores[:, 0].numpy(), scores[:, 1].numpy(), train, held_out)
    write_json(run.path / "accuracy.json", results)
    reward.save(run.path / "model", model_card(run, "Reward model", results))
    return results


def concerns(asked: Preference | Comparison, prompts: str) -> bool:
    """Whether a reward model for `prompts` (all, unsafe, other) has to do with what is asked."""
    return prompts == "all" or is_unsafe(asked) == (prompts == "unsafe")


def margin_loss(chosen: Tensor, rejected: Tensor, which: Tensor, *, margins: Tensor) -> tuple[Tensor, Tensor]:
    """Ranking loss of the pairs `which` (B,) of a step, whose margins are `margins`."""
    return ranking_loss(chosen, rejected, margins[which])


def sample_rows(reward: RewardModel, comparisons: Sequence[Comparison], lengths: Lengths) -> list[Row]:
    """Both completions of every comparison that `lengths` lets through."""
    names = (f"sample {c.id} ({c.source})" for c in comparisons)
    made = [
        completion_rows(reward.chat, c.prompt, (c.first, c.second), name, lengths)
        for c, name in zip(comparisons, names, strict=True)
    ]
    return [row for found in made if found for row in found[1]]
