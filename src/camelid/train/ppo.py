"""PPO against a reward model, as LLaMA-2 and "The N implementation details of RLHF with PPO" have it.

An iteration: sample a completion a prompt, score it, shape rewards (score at the end, minus the KL to the reference at
every token), estimate advantages, take a few clipped steps. The reference is the policy with its adapters off. The
value head shares the trunk. Left out: a value network of its own, the pretraining mix, several samples a prompt.

    camelid ppo --model MODEL --reward_model REWARD --prompts prompts.jsonl
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from torch import Tensor

from camelid.functional.gae import gae
from camelid.functional.mismatch import Mismatch
from camelid.functional.ppo import clip_fraction, ppo_policy_loss, ppo_value_loss
from camelid.functional.rewards import shape_rewards
from camelid.functional.schedules import AdaptiveKL, Schedule
from camelid.functional.standardize import standardize
from camelid.models.batch import Batch, Row
from camelid.models.outputs import Loss, Outputs
from camelid.models.policy import Policy
from camelid.models.rewards import Rewards
from camelid.models.sampling import Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.runs import Run, derived_seed
from camelid.train.common import TrainSettings, batches, model_card
from camelid.train.rollout import Rollout, Score, measure, roll_out, with_columns
from camelid.types import Prompt, read_records


class PpoSettings(TrainSettings):
    """PPO."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Peak learning rate of the policy; LLaMA-2 took a constant 1e-6 for full weights."""
    schedule: Schedule = "constant"
    """Shape of the learning rate; LLaMA-2's is constant."""
    value_learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of the value head, which starts from zero and is a single linear layer."""
    checkpoint_every: int = Field(default=1, ge=1)
    """Iterations between checkpoints."""
    sampling: Sampling = Sampling()
    """How completions are drawn; log-probabilities are taken at the same temperature."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context: set_aside (counted, and
    an error where more than half would go), cut (oldest turns first), or stop."""
    num_iterations: int = Field(default=100, ge=1)
    """Batches of rollouts; LLaMA-2 took 200 to 400."""
    batch_size: int = Field(default=512, ge=2)
    """Rollouts an iteration; LLaMA-2 took 512."""
    mini_batch_size: int = Field(default=64, ge=1)
    """Rollouts an optimizer step; LLaMA-2 took 64."""
    ppo_epochs: int = Field(default=1, ge=1)
    """Passes over an iteration's rollouts."""
    clip: float = Field(default=0.2, gt=0)
    """Clip range of the probability ratio."""
    value_clip: float = Field(default=0.2, gt=0)
    """Clip range of the value's change."""
    value_coef: float = Field(default=0.1, ge=0)
    """Weight of the value loss."""
    kl_coef: float = Field(default=0.01, ge=0)
    """Weight of the KL to the reference in the reward; LLaMA-2 took 0.01 for 7B and 13B."""
    kl_target: float = Field(default=0.0, ge=0)
    """Where not 0, kl_coef adapts to hold the KL a completion at this many nats."""
    kl_horizon: int = Field(default=10000, ge=1)
    """Completions over which kl_coef adapts."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """Trace decay of the advantage estimate."""
    discount: float = Field(default=1.0, ge=0, le=1)
    """Discount a token."""
    unfinished_score: float | None = -1.0
    """Score of a completion that was cut before its end of turn, whatever the reward model says (null: its own)."""
    importance_limit: float = Field(default=0.0, ge=0)
    """Weigh each token by its probability under the trainer over that under the engine, at most this; 0: not at all.
    For engines that do not multiply as the trainer does, such as vLLM; 2 is usual."""
    engine_kl_limit: float = Field(default=0.01, gt=0)
    """Warn where the KL from engine to trainer, in nats a token, is above this."""
    share_trunk: bool = False
    """Put the reward models on the policy's weights in memory. They must be adapter folders (model.save_adapter=true in
    their stages) over the very model that PPO starts from; scores differ from merged ones by the rounding of those."""

    @model_validator(mode="after")
    def _draws_from_the_policy_itself(self) -> PpoSettings:
        if self.sampling.changes_distribution:
            raise ValueError(
                "sampling: PPO needs completions of the policy's own distribution, which top_p, top_k, "
                "repetition_penalty and min_new_tokens change; leave them at 1, 0, 1 and 0"
            )
        return self


def train_ppo(run: Run) -> dict[str, Any]:
    """Stage: `model`, `reward_model`, optional `safety_reward_model`, `prompts` -> model/, metrics.jsonl."""
    s: PpoSettings = run.settings
    policy = Policy.load_for_training(
        run.inputs["model"], s.model, s.optimizer, seed=derived_seed(s.seed, "adapters"), chat_format=s.chat_format
    )
    safety = run.inputs.get("safety_reward_model")
    if s.share_trunk:
        rewards = Rewards.beside(policy, run.inputs["reward_model"], safety, s.chat_format)
    else:
        rewards = Rewards.load(run.inputs["reward_model"], safety, s.model, s.chat_format)
    reader = Reader(policy.chat, policy.model.config.max_position_embeddings)
    given = read_records(run.inputs["prompts"], Prompt)
    prompts, too_long = fitting_prompts(run, given, [reader], s.too_long, s.sampling.max_new_tokens)
    metrics = ppo(run, policy, prompts, rewards.score) | too_long
    policy.save(run.path / "model", model_card(run, "Language model after PPO", metrics))
    return metrics


def ppo(run: Run, policy: Policy, prompts: Sequence[Prompt], score: Score) -> dict[str, Any]:
    """The loop. Changes `policy`; returns the last iteration's metrics."""
    s: PpoSettings = run.settings
    policy.add_value_head(s.optimizer)
    kl = AdaptiveKL(s.kl_coef, s.kl_target, s.kl_horizon)

    metrics: dict[str, Any] = {}

    def save(folder: Path) -> None:
        policy.save_state(folder)
        (folder / "ppo.json").write_text(json.dumps({"kl": asdict(kl), "metrics": metrics}))

    def load(folder: Path) -> None:
        nonlocal kl, metrics
        policy.load_state(folder)
        saved = json.loads((folder / "ppo.json").read_text())
        kl, metrics = AdaptiveKL(**saved["kl"]), saved["metrics"]

    # Of the completions alone: how long prompts are is not known yet.
    policy.compile_for(s.num_iterations * s.ppo_epochs * s.batch_size * s.sampling.max_new_tokens)
    start = run.resume(load)
    with run.progress("iterations", s.num_iterations, start) as tick:
        for iteration in range(start, s.num_iterations):
            asked = [prompts[i] for i in prompt_indices(len(prompts), s.batch_size, iteration, s.seed)]
            rollout = roll_out(
                policy,
                asked,
                score,
                s.sampling,
                seed=derived_seed(s.seed, "rollout", iteration),
                unfinished_score=s.unfinished_score,
                importance_limit=s.importance_limit,
            )
            warn_of_mismatch(rollout.engine, s.engine_kl_limit, iteration)
            rewards = shape_rewards(
                rollout.scores, rollout.logprobs, rollout.ref_logprobs, rollout.mask, kl_coef=kl.coef
            )
            advantages, returns = gae(
                rewards, rollout.values, rollout.mask, discount=s.discount, gae_lambda=s.gae_lambda
            )
            advantages = standardize(advantages, rollout.mask)
            if rollout.weights is not None:  # the clipped surrogate is linear in the advantage
                advantages = advantages * rollout.weights
            losses = update(policy, with_targets(rollout, advantages, returns), s, iteration)

            metrics = measure(rollout, returns) | {"kl_coef": kl.coef} | losses
            if s.kl_target:
                kl.update(metrics["kl"], len(asked))
            run.log(iteration + 1, **metrics)
            if (iteration + 1) % s.checkpoint_every == 0:
                run.checkpoint(iteration + 1, save)
            tick(1)
    return metrics


def warn_of_mismatch(found: Mismatch, limit: float, iteration: int) -> None:
    """Say where what draws is not what trains; nothing is known of an engine without log-probabilities."""
    if found.kl > limit:
        print(
            f"iteration {iteration + 1}: the engine is {found.kl:.3g} nats a token (KL) from the trainer, above "
            f"engine_kl_limit={limit:g}; set importance_limit=2, or sample with engine.kind=own",
            file=sys.stderr,
        )


def prompt_indices(num_prompts: int, batch_size: int, iteration: int, seed: int) -> list[int]:
    """The `batch_size` prompts of an iteration: pass after pass over all prompts, each shuffled anew, cut into batches.

    Fewer prompts than `batch_size` repeat within a batch, with other samples.
    """
    places = range(iteration * batch_size, (iteration + 1) * batch_size)
    passes: dict[int, list[int]] = {}
    for number in {place // num_prompts for place in places}:
        passes[number] = list(range(num_prompts))
        random.Random(derived_seed(seed, "prompts", number)).shuffle(passes[number])
    return [passes[place // num_prompts][place % num_prompts] for place in places]


def with_targets(rollout: Rollout, advantages: Tensor, returns: Tensor) -> list[Row]:
    """The rows with what the losses need, aligned with their ids."""
    columns = {
        "old_logprobs": rollout.logprobs,
        "old_values": rollout.values,
        "advantages": advantages,
        "returns": returns,
    }
    return with_columns(rollout, columns)


def update(policy: Policy, rows: Sequence[Row], s: PpoSettings, iteration: int) -> dict[str, float]:
    """`ppo_epochs` passes of mini-batch steps over the rollouts. Returns the losses' means over all steps."""

    def loss(batch: Batch, outputs: Outputs) -> Loss:
        mask, given = batch.loss_mask, batch.values
        policy_loss, count = ppo_policy_loss(
            outputs.logprobs, given["old_logprobs"], given["advantages"], mask, clip=s.clip
        )
        assert outputs.values is not None
        value_loss, _ = ppo_value_loss(outputs.values, given["old_values"], given["returns"], mask, clip=s.value_clip)
        clipped, _ = clip_fraction(outputs.logprobs, given["old_logprobs"], mask, clip=s.clip)
        logs = {"policy_loss": policy_loss, "value_loss": value_loss, "clip_fraction": clipped}
        return Loss(policy_loss + s.value_coef * value_loss, count, logs)

    steps = batches(len(rows), s.mini_batch_size, s.ppo_epochs, derived_seed(s.seed, "mini-batches", iteration))
    sums: dict[str, float] = {}
    for indices in steps:
        metrics = policy.forward_backward([rows[i] for i in indices], loss, temperature=s.sampling.temperature)
        rate = s.learning_rate_at(iteration, s.num_iterations)
        metrics["gradient_norm"] = policy.step(rate, metrics.pop("count"), value_learning_rate=s.value_learning_rate)
        for name, value in metrics.items():
            sums[name] = sums.get(name, 0.0) + value
    return {name: value / len(steps) for name, value in sums.items()}
