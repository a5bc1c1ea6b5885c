"""PPO against a score, as InstructGPT, LLaMA-2 and "The N implementation details of RLHF with PPO" have it.

An iteration: sample a completion a prompt, score it, shape rewards (score at the end, minus the KL to the reference at
every token), estimate advantages, take a few clipped steps. The reference is the policy with its adapters off. The
value head shares the trunk, or is a network of its own. docs/rlhf.md says what is kept of the papers and what is not,
and has their numbers. Left out: several samples a prompt.

    camelid ppo --model MODEL --reward_model REWARD --prompts prompts.jsonl --preset llama-2
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from camelid.functional.gae import gae
from camelid.functional.rewards import shape_rewards
from camelid.functional.schedules import AdaptiveKL
from camelid.functional.standardize import rescale, standardize
from camelid.models.averaging import MovingAverage, load_weights, put_back, save_weights
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.value_model import ValueModel
from camelid.runs import Run, derived_seed
from camelid.train.common import in_turn, input_files, model_card
from camelid.train.ppo_update import update, with_targets
from camelid.train.practice import PracticeSettings, Watch, prepare
from camelid.train.pretraining_mix import Mix, MixSettings, mix_rows
from camelid.train.rollout import measure, roll_out
from camelid.train.scoring import ScoreSettings
from camelid.types import Prompt


class PpoSettings(PracticeSettings):
    """PPO."""

    value_learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of the value head, which starts from zero and is a single linear layer."""
    ptx: MixSettings = MixSettings()
    """PPO-ptx: text in every mini-batch, where the input pretraining is given."""
    ema: Literal["no", "beside", "instead"] = "no"
    """The moving average of the weights at the run's end: in model-ema/ beside the model, or instead of it."""
    ema_decay: float = Field(default=0.992, ge=0, lt=1)
    """Decay of that average an optimizer step; InstructGPT took 0.992."""
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
    value_from: Literal["policy", "reward_model"] = "policy"
    """policy: a linear value head on its trunk. reward_model: a value network of its own, begun at the input
    reward_model, as InstructGPT's; value_learning_rate is then that of the whole network, and the policy's trunk learns
    nothing from values."""
    value_coef: float = Field(default=0.1, ge=0)
    """Weight of the value loss on a shared trunk."""
    kl_coef: float = Field(default=0.01, ge=0)
    """Weight of the KL to the reference in the reward; LLaMA-2 took 0.01 for 7B and 13B."""
    kl_target: float = Field(default=0.0, ge=0)
    """Where not 0, kl_coef adapts to hold the KL a completion at this many nats."""
    kl_horizon: int = Field(default=10000, ge=1)
    """Completions over which kl_coef adapts."""
    whiten_rewards: bool = False
    """Divide the rewards a token (score and KL) by their standard deviation over the batch, their mean staying where it
    is, as OpenAI's first code and TRL's did (N implementation details, policy 9); `kl_coef` then has no fixed unit."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """Trace decay of the advantage estimate."""
    discount: float = Field(default=1.0, ge=0, le=1)
    """Discount a token."""
    importance_limit: float = Field(default=0.0, ge=0)
    """Weigh each token by its probability under the trainer over that under the engine, at most this; 0: not at all.
    For engines that do not multiply as the trainer does, such as vLLM; 2 is usual."""

    @model_validator(mode="after")
    def _draws_from_the_policy_itself(self) -> PpoSettings:
        if self.sampling.changes_distribution:
            raise ValueError(
                "sampling: PPO needs completions of the policy's own distribution, which top_p, top_k, "
                "repetition_penalty and min_new_tokens change; leave them at 1, 0, 1 and 0"
            )
        return self


FULL = ModelSettings(lora_rank=0)
PRESETS = {
    "llama-2": PpoSettings(
        model=FULL,
        learning_rate=1e-6,
        batch_size=512,
        mini_batch_size=64,
        num_iterations=400,
        kl_coef=0.01,
        scoring=ScoreSettings(two_models="gate", standardise="batch"),
        held_out=256,
        patience=3,
    ),
    "instructgpt": PpoSettings(
        model=FULL,
        learning_rate=9e-6,
        value_from="reward_model",
        value_learning_rate=9e-6,
        warmup_steps=10,
        batch_size=512,
        mini_batch_size=64,
        num_iterations=500,
        kl_coef=0.02,
        ptx=MixSettings(coef=27.8, ratio=8),
        ema="instead",
        ema_decay=0.992,
    ),
    "alpacafarm": PpoSettings(
        model=FULL,
        learning_rate=1e-5,
        batch_size=512,
        mini_batch_size=256,
        ppo_epochs=2,
        kl_coef=0.02,
        gae_lambda=1.0,
        scoring=ScoreSettings(unfinished_score=-1.0),
    ),
}
"""The papers' numbers, for full weights (docs/rlhf.md has which are published): LLaMA-2's 7B, whose held-out prompts
and patience are ours; InstructGPT's, whose learning rate was swept; AlpacaFarm's for people's preferences."""


def train_ppo(run: Run) -> dict[str, Any]:
    """Stage: `model`, `prompts`, `reward_model` -> model/, metrics.jsonl, samples.jsonl, guards.jsonl. Optional inputs:
    `safety_reward_model`, `reward_function` (.py), `alarm_model`, `held_out_prompts`, `pretraining` (text)."""
    s: PpoSettings = run.settings
    policy, prompts, watch, too_long = prepare(run)
    mix = None
    if "pretraining" in run.inputs:
        rows = mix_rows(policy, list(input_files(run.inputs["pretraining"])), s.ptx)
        mix = Mix(rows, s.ptx, derived_seed(s.seed, "pretraining"))
    average = MovingAverage(policy, s.ema_decay) if s.ema != "no" else None
    value_model = None
    if s.value_from == "reward_model":
        seed = derived_seed(s.seed, "value model")
        value_model = ValueModel.begin(run.inputs["reward_model"], s.model, s.optimizer, seed=seed)
    metrics = ppo(run, policy, prompts, watch, mix, average, value_model) | too_long
    policy.save(run.path / "model", model_card(run, "Language model after PPO", metrics))
    if average is not None and s.ema == "beside":
        with average.in_place():
            policy.save(run.path / "model-ema", model_card(run, "Moving average of PPO's weights", metrics))
    return metrics


def ppo(
    run: Run,
    policy: Policy,
    prompts: Sequence[Prompt],
    watch: Watch,
    mix: Mix | None = None,
    average: MovingAverage | None = None,
    value_model: ValueModel | None = None,
) -> dict[str, Any]:
    """The loop. Leaves `policy` as it is to be saved; returns the last iteration's metrics, and what stopped it."""
    s: PpoSettings = run.settings
    if value_model is None:
        policy.add_value_head(s.optimizer)
    kl = AdaptiveKL(s.kl_coef, s.kl_target, s.kl_horizon)
    metrics: dict[str, Any] = {}

    def save(folder: Path) -> None:
        policy.save_state(folder)
        if average is not None:
            save_weights(folder / "average.safetensors", average.weights)
        if value_model is not None:
            value_model.save_state(folder)
        saved = {"kl": asdict(kl), "metrics": metrics, "watch": watch.save(folder)}
        (folder / "ppo.json").write_text(json.dumps(saved))

    def load(folder: Path) -> None:
        nonlocal kl, metrics
        policy.load_state(folder)
        if average is not None:
            average.weights = load_weights(folder / "average.safetensors", average.weights)
        if value_model is not None:
            value_model.load_state(folder)
        saved = json.loads((folder / "ppo.json").read_text())
        kl, metrics = AdaptiveKL(**saved["kl"]), saved["metrics"]
        watch.load(folder, saved["watch"], policy)

    def outgoing() -> AbstractContextManager[None]:
        return average.in_place() if average is not None and s.ema == "instead" else nullcontext()

    # Of the completions alone: how long prompts are is not known yet.
    policy.compile_for(s.num_iterations * s.ppo_epochs * s.batch_size * s.sampling.max_new_tokens)
    start = run.resume(load)
    if start == 0:
        watch.begin(policy)
    with run.progress("iterations", s.num_iterations, start) as tick:
        for iteration in range(start, s.num_iterations):
            if watch.stopped_by:
                break
            done = iteration + 1
            asked = [prompts[i] for i in in_turn(len(prompts), s.batch_size, iteration, s.seed)]
            seed = derived_seed(s.seed, "rollout", iteration)
            limit = s.importance_limit
            rollout = roll_out(
                policy, asked, watch.scorer, s.sampling, seed=seed, importance_limit=limit, value_model=value_model
            )
            scores = rollout.drawn.scored.final
            rewards = shape_rewards(scores, rollout.logprobs, rollout.ref_logprobs, rollout.mask, kl_coef=kl.coef)
            if s.whiten_rewards:
                rewards = rescale(rewards, rollout.mask)
            advantages, returns = gae(
                rewards, rollout.values, rollout.mask, discount=s.discount, gae_lambda=s.gae_lambda
            )
            advantages = standardize(advantages, rollout.mask)
            if rollout.weights is not None:  # the clipped surrogate is linear in the advantage
                advantages = advantages * rollout.weights

            metrics = measure(rollout, returns) | {"kl_coef": kl.coef}
            watch.before_update(done, rollout.drawn, metrics)
            if not watch.stopped_by:
                rows = with_targets(rollout, advantages, returns)
                metrics |= update(policy, rows, s, iteration, mix, average, value_model)
                if s.kl_target:
                    kl.update(metrics["kl"], len(asked))
                metrics |= watch.after_update(policy, done, outgoing())
            run.log(done, **metrics)
            if watch.due(done):
                run.checkpoint(done, save)
            tick(1)

    if average is not None and s.ema == "instead" and watch.held_out.best is None:
        put_back(policy, average.weights)
    return metrics | watch.finish(policy)
