"""PPO against a score, as InstructGPT, LLaMA-2 and "The N implementation details of RLHF with PPO" have it.

An iteration: sample a completion a prompt, score it, shape rewards (score at the end, minus the KL to the reference at
every token), estimate advantages, take a few clipped steps. The reference is the policy with its adapters off. The
value head shares the trunk. docs/rlhf.md says what is kept of the papers and what is not, and has their numbers. Left
out: a value network of its own, several samples a prompt.

    camelid ppo --model MODEL --reward_model REWARD --prompts prompts.jsonl
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
from camelid.functional.schedules import AdaptiveKL, Schedule
from camelid.functional.standardize import standardize
from camelid.models.averaging import MovingAverage, load_weights, put_back, save_weights
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.models.too_long import Reader, TooLong, fitting_prompts
from camelid.runs import Run, derived_seed
from camelid.train.common import TrainSettings, in_turn, input_files, model_card, split
from camelid.train.guards import Guards, GuardSettings
from camelid.train.held_out import HeldOut
from camelid.train.ppo_update import update, with_targets
from camelid.train.pretraining_mix import Mix, MixSettings, mix_rows
from camelid.train.rollout import measure, roll_out, sample_rows
from camelid.train.scoring import Scorer, ScoreSettings
from camelid.train.sources import make_scorer
from camelid.types import Prompt, read_records


class PpoSettings(TrainSettings):
    """PPO."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Peak learning rate of the policy; LLaMA-2 took a constant 1e-6 for full weights."""
    schedule: Schedule = "constant"
    """Shape of the learning rate; LLaMA-2's is constant."""
    warmup_steps: int = Field(default=0, ge=0)
    """Iterations over which the learning rate rises; InstructGPT took 10, from a tenth of the peak, as 10 does here."""
    value_learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of the value head, which starts from zero and is a single linear layer."""
    checkpoint_every: int = Field(default=1, ge=1)
    """Iterations between checkpoints."""
    sampling: Sampling = Sampling()
    """How completions are drawn; log-probabilities are taken at the same temperature."""
    too_long: TooLong = "set_aside"
    """What becomes of prompts that leave no room for `max_new_tokens` in the model's context: set_aside (counted, and
    an error where more than half would go), cut (oldest turns first), or stop."""
    scoring: ScoreSettings = ScoreSettings()
    """What completions are scored by, and how scores are shaped."""
    guards: GuardSettings = GuardSettings()
    """What warns or stops."""
    held_out: int = Field(default=0, ge=0)
    """Prompts kept from training to choose the best model by, where the input held_out_prompts does not give them."""
    held_out_every: int = Field(default=10, ge=1)
    """Iterations between two looks at them; the first is before training, the last at the end."""
    patience: int = Field(default=0, ge=0)
    """Stop after so many looks in a row without a better score; 0: never. The best model is kept either way."""
    ptx: MixSettings = MixSettings()
    """PPO-ptx: text in every mini-batch, where the input pretraining is given."""
    ema: Literal["no", "beside", "instead"] = "no"
    """The moving average of the weights at the run's end: in model-ema/ beside the model, or instead of it."""
    ema_decay: float = Field(default=0.992, ge=0, lt=1)
    """Decay of that average an optimizer step; InstructGPT took 0.992."""
    logged_samples: int = Field(default=4, ge=0)
    """Completions of each iteration that go to samples.jsonl with their scores."""
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
    importance_limit: float = Field(default=0.0, ge=0)
    """Weigh each token by its probability under the trainer over that under the engine, at most this; 0: not at all.
    For engines that do not multiply as the trainer does, such as vLLM; 2 is usual."""
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
    """Stage: `model`, `prompts`, `reward_model` -> model/, metrics.jsonl, samples.jsonl, guards.jsonl. Optional inputs:
    `safety_reward_model`, `reward_function` (.py), `alarm_model`, `held_out_prompts`, `pretraining` (text)."""
    s: PpoSettings = run.settings
    policy = Policy.load_for_training(
        run.inputs["model"], s.model, s.optimizer, seed=derived_seed(s.seed, "adapters"), chat_format=s.chat_format
    )
    reader = Reader(policy.chat, policy.model.config.max_position_embeddings)
    given = read_records(run.inputs["prompts"], Prompt)
    fitting, too_long = fitting_prompts(run, given, [reader], s.too_long, s.sampling.max_new_tokens)
    prompts, apart = split(fitting, s.held_out, derived_seed(s.seed, "held out"))
    if "held_out_prompts" in run.inputs:
        if apart:
            raise ValueError("held-out prompts are given as a file: set held_out=0, or leave the file out")
        given = read_records(run.inputs["held_out_prompts"], Prompt)
        apart, _ = fitting_prompts(run, given, [reader], s.too_long, s.sampling.max_new_tokens)
    scorer = make_scorer(
        run.inputs,
        s.scoring,
        [*prompts, *apart],
        model=s.model,
        chat_format=s.chat_format,
        max_new_tokens=s.sampling.max_new_tokens,
        beside=policy if s.share_trunk else None,
    )
    if s.guards.divergence.limit is not None and scorer.alarm is None:
        raise ValueError("guards.divergence looks at a second reward model: give the input alarm_model")
    mix = None
    if "pretraining" in run.inputs:
        rows = mix_rows(policy, list(input_files(run.inputs["pretraining"])), s.ptx)
        mix = Mix(rows, s.ptx, derived_seed(s.seed, "pretraining"))
    average = MovingAverage(policy, s.ema_decay) if s.ema != "no" else None
    held_out = HeldOut(apart, s.sampling, every=s.held_out_every, patience=s.patience, seed=s.seed)

    metrics = ppo(run, policy, prompts, scorer, held_out, mix, average) | too_long
    policy.save(run.path / "model", model_card(run, "Language model after PPO", metrics))
    if average is not None and s.ema == "beside":
        with average.in_place():
            policy.save(run.path / "model-ema", model_card(run, "Moving average of PPO's weights", metrics))
    return metrics


def ppo(
    run: Run,
    policy: Policy,
    prompts: Sequence[Prompt],
    scorer: Scorer,
    held_out: HeldOut,
    mix: Mix | None = None,
    average: MovingAverage | None = None,
) -> dict[str, Any]:
    """The loop. Leaves `policy` as it is to be saved; returns the last iteration's metrics, and what stopped it."""
    s: PpoSettings = run.settings
    policy.add_value_head(s.optimizer)
    kl = AdaptiveKL(s.kl_coef, s.kl_target, s.kl_horizon)
    guards = Guards(s.guards)
    metrics: dict[str, Any] = {}
    stopped_by: str | None = None

    def save(folder: Path) -> None:
        policy.save_state(folder)
        if average is not None:
            save_weights(folder / "average.safetensors", average.weights)
        parts = {"scorer": scorer.state(), "guards": guards.state(), "held_out": held_out.save(folder)}
        own = {"kl": asdict(kl), "metrics": metrics, "stopped_by": stopped_by}
        (folder / "ppo.json").write_text(json.dumps(own | parts))

    def load(folder: Path) -> None:
        nonlocal kl, metrics, stopped_by
        policy.load_state(folder)
        if average is not None:
            average.weights = load_weights(folder / "average.safetensors", average.weights)
        saved = json.loads((folder / "ppo.json").read_text())
        kl, metrics, stopped_by = AdaptiveKL(**saved["kl"]), saved["metrics"], saved["stopped_by"]
        scorer.restore(saved["scorer"])
        guards.restore(saved["guards"])
        held_out.load(folder, saved["held_out"], policy)

    def outgoing() -> AbstractContextManager[None]:
        return average.in_place() if average is not None and s.ema == "instead" else nullcontext()

    # Of the completions alone: how long prompts are is not known yet.
    policy.compile_for(s.num_iterations * s.ppo_epochs * s.batch_size * s.sampling.max_new_tokens)
    start = run.resume(load)
    if start == 0 and held_out.prompts:
        run.log(0, **held_out.look(policy, scorer, 0, outgoing()))
    with run.progress("iterations", s.num_iterations, start) as tick:
        for iteration in range(start, s.num_iterations):
            if stopped_by:
                break
            done = iteration + 1
            asked = [prompts[i] for i in in_turn(len(prompts), s.batch_size, iteration, s.seed)]
            seed = derived_seed(s.seed, "rollout", iteration)
            rollout = roll_out(policy, asked, scorer, s.sampling, seed=seed, importance_limit=s.importance_limit)
            rewards = shape_rewards(
                rollout.scored.final, rollout.logprobs, rollout.ref_logprobs, rollout.mask, kl_coef=kl.coef
            )
            advantages, returns = gae(
                rewards, rollout.values, rollout.mask, discount=s.discount, gae_lambda=s.gae_lambda
            )
            advantages = standardize(advantages, rollout.mask)
            if rollout.weights is not None:  # the clipped surrogate is linear in the advantage
                advantages = advantages * rollout.weights

            metrics = measure(rollout, returns) | {"kl_coef": kl.coef}
            run.append("samples.jsonl", sample_rows(done, asked, rollout, s.logged_samples))
            stopped_by = guards.look(run, done, metrics)
            if not stopped_by:
                metrics |= update(policy, with_targets(rollout, advantages, returns), s, iteration, mix, average)
                if s.kl_target:
                    kl.update(metrics["kl"], len(asked))
                if held_out.due(done) or (held_out.prompts and done == s.num_iterations):
                    metrics |= held_out.look(policy, scorer, done, outgoing())
                    stopped_by = "held_out" if held_out.out_of_patience else None
            run.log(done, **metrics)
            if done % s.checkpoint_every == 0 or stopped_by:
                run.checkpoint(done, save)
            tick(1)

    if held_out.best is not None:
        metrics |= held_out.finish(policy)
    elif average is not None and s.ema == "instead":
        put_back(policy, average.weights)
    return metrics | ({"stopped_by": stopped_by} if stopped_by else {})
