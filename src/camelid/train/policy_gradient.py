"""Policy gradients without a value network: RLOO, GRPO, Dr. GRPO, DAPO and REINFORCE as choices of one loop.

An iteration: draw K completions a prompt, score them, compare each with the others of its prompt, take a few clipped
steps. `ALGORITHMS` in train/algorithms.py says what each algorithm chooses; any choice can be set by itself. The
reference is the policy as it was before training. With one step an iteration (prompts_a_step = prompts_an_iteration,
epochs = 1) the ratio is 1 and clips cut nothing. DAPO's soft penalty on length is a reward and no step:
`scoring.overlong_tokens`. Left out: rewards of single tokens.

    camelid policy-gradient --model MODEL --reward_model REWARD --prompts prompts.jsonl --set algorithm=rloo
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from camelid.functional.advantages import (
    RunningMean,
    alike,
)
from camelid.functional.policy_gradient import (
    Average,
    Ratio,
    completion_kl,
)
from camelid.functional.schedules import AdaptiveKL
from camelid.models.batch import Row
from camelid.models.policy import Policy
from camelid.runs import Run, derived_seed
from camelid.train.algorithms import (
    ALGORITHMS,
    OF_GROUPS,
    Advantage,
    Algorithm,
    Choices,
    KLTerm,
    advantages_of,
    policy_loss,
)
from camelid.train.common import batches, model_card
from camelid.train.groups import GroupSettings, draw_groups, means, members
from camelid.train.practice import Watch, prepare
from camelid.train.rollout import Drawn, Rollout, look, measure_drawn, measure_policy, with_columns
from camelid.train.scoring import Scorer
from camelid.types import Prompt


class PolicyGradientSettings(GroupSettings):
    """Policy gradients without a value network."""

    algorithm: Algorithm = "grpo"
    """What the choices below are where they are null: rloo, grpo, dr_grpo, dapo or reinforce."""
    advantage: Advantage | None = None
    """What a completion's score is compared with: leave_one_out (the mean of its prompt's others), group_standardized
    (the prompt's mean, divided by its standard deviation), group_centred (not divided), batch_centred (the mean of all
    prompts), running_mean (of all iterations so far)."""
    ratio: Ratio | None = None
    """Whose probability is compared with that at sampling: token, completion, or completion_mean (its root by length;
    GSPO)."""
    average: Average | None = None
    """How losses of tokens are averaged: completion (over a completion's tokens, then over completions), token (over
    all tokens of a step), constant (their sum by max_new_tokens, then over completions), sum (not divided by a
    length)."""
    clip_low: float | None = Field(default=None, ge=0)
    """How far below 1 a ratio may pull; 0: no limit."""
    clip_high: float | None = Field(default=None, ge=0)
    """How far above 1; 0: no limit."""
    kl: KLTerm | None = None
    """Where the KL to the reference acts: in the reward (k1 of whole completions), or in the loss as k2, k3, or the
    form whose gradient is unbiased off the policy too. k1 in the loss is not offered: its gradient is zero in the
    mean. `functional/policy_gradient.py` says what each one's gradient estimates."""
    kl_coef: float | None = Field(default=None, ge=0)
    """Its weight."""
    kl_target: float = Field(default=0.0, ge=0)
    """Where not 0, kl_coef adapts to hold the KL a completion at this many nats."""
    kl_horizon: int = Field(default=10000, ge=1)
    """Completions over which kl_coef adapts."""
    redraws: int | None = Field(default=None, ge=0)
    """How often groups whose scores are all alike, which teach nothing, are replaced by those of other prompts (DAPO's
    dynamic sampling). What is alike after the last time stays."""
    importance_limit: float = Field(default=0.0, ge=0)
    """Weigh each token by its probability under the trainer over that under the engine, at most this; 0: not at all.
    For engines that do not multiply as the trainer does, such as vLLM; 2 is usual."""

    @property
    def choices(self) -> Choices:
        """The algorithm's, but for those that were set."""
        preset = ALGORITHMS[self.algorithm]
        given = {name: getattr(self, name) for name in Choices._fields}
        return preset._replace(**{name: value for name, value in given.items() if value is not None})

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        c = self.choices
        if self.sampling.changes_distribution:
            raise ValueError(
                "sampling: policy gradients need completions of the policy's own distribution, which top_p, top_k, "
                "repetition_penalty and min_new_tokens change; leave them at 1, 0, 1 and 0"
            )
        if self.num_samples < 2 and (c.advantage in OF_GROUPS or c.redraws):
            what = f"advantage={c.advantage}" if c.advantage in OF_GROUPS else f"redraws={c.redraws}"
            raise ValueError(f"{what} compares the completions of a prompt, and num_samples is 1: draw at least 2")
        if self.importance_limit and c.ratio != "token":
            raise ValueError(
                f"importance_limit weighs tokens, and ratio={c.ratio} is of completions; set ratio=token, with "
                "average=sum to keep the gradient of RLOO"
            )
        if self.kl_target and not c.kl_coef:
            raise ValueError("kl_target multiplies kl_coef, which is 0: set kl_coef to the weight to begin with")
        return self


def train_policy_gradient(run: Run) -> dict[str, Any]:
    """Stage: `model`, `prompts`, `reward_model` -> model/, metrics.jsonl, samples.jsonl, guards.jsonl. Optional inputs:
    `safety_reward_model`, `reward_function` (.py), `alarm_model`, `held_out_prompts`."""
    s: PolicyGradientSettings = run.settings
    policy, prompts, watch, too_long = prepare(run)
    metrics = policy_gradient(run, policy, prompts, watch) | {"choices": s.choices._asdict()} | too_long
    policy.save(run.path / "model", model_card(run, f"Language model after {s.algorithm}", metrics))
    return metrics


def policy_gradient(run: Run, policy: Policy, prompts: Sequence[Prompt], watch: Watch) -> dict[str, Any]:
    """The loop. Changes `policy`; returns the last iteration's metrics."""
    s: PolicyGradientSettings = run.settings
    c = s.choices
    kl = AdaptiveKL(c.kl_coef, s.kl_target, s.kl_horizon)
    baseline = RunningMean()
    metrics: dict[str, Any] = {}

    def save(folder: Path) -> None:
        policy.save_state(folder)
        own = {"kl": asdict(kl), "baseline": asdict(baseline), "metrics": metrics}
        (folder / "policy_gradient.json").write_text(json.dumps(own | {"watch": watch.save(folder)}))

    def load(folder: Path) -> None:
        nonlocal kl, baseline, metrics
        policy.load_state(folder)
        saved = json.loads((folder / "policy_gradient.json").read_text())
        kl, baseline, metrics = AdaptiveKL(**saved["kl"]), RunningMean(**saved["baseline"]), saved["metrics"]
        watch.load(folder, saved["watch"], policy)

    rollouts = s.prompts_an_iteration * s.num_samples
    policy.compile_for(s.num_iterations * s.epochs * rollouts * s.sampling.max_new_tokens)
    start = run.resume(load)
    if start == 0:
        watch.begin(policy)
    with run.progress("iterations", s.num_iterations, start) as tick:
        for iteration in range(start, s.num_iterations):
            if watch.stopped_by:
                break
            done = iteration + 1
            drawn, everything, redrawn = draw_informative(policy, prompts, watch.scorer, s, iteration)
            rollout = look(policy, drawn, s.sampling, importance_limit=s.importance_limit)
            scores = drawn.scored.final
            if c.kl == "reward":
                scores = scores - kl.coef * completion_kl(rollout.logprobs, rollout.ref_logprobs, rollout.mask)
            advantages = advantages_of(scores.view(-1, s.num_samples), c.advantage, baseline).view(-1, 1)
            # The clipped surrogate is linear in the advantage, so importance weights go into it.
            weights = torch.ones_like(rollout.logprobs) if rollout.weights is None else rollout.weights
            rows = with_targets(rollout, advantages * weights)

            # Scores are those of all that was drawn: the groups that stay would hide what is always right or wrong.
            metrics = measure_policy(rollout) | measure_drawn(everything) | redrawn | {"kl_coef": kl.coef}
            watch.before_update(done, everything, metrics)
            if not watch.stopped_by:
                metrics |= update(policy, rows, s, kl.coef, iteration)
                if s.kl_target:
                    kl.update(metrics["kl"], len(rows))
                metrics |= watch.after_update(policy, done)
            run.log(done, **metrics)
            if watch.due(done):
                run.checkpoint(done, save)
            tick(1)
    return metrics | watch.finish(policy)


def draw_informative(
    policy: Policy, prompts: Sequence[Prompt], scorer: Scorer, s: PolicyGradientSettings, iteration: int
) -> tuple[Drawn, Drawn, dict[str, float]]:
    """An iteration's groups, those that are alike replaced while `redraws` allows it; all that was drawn; and how much
    of it was alike."""
    drawn = everything = draw_groups(policy, prompts, scorer, s, iteration)
    first_alike = alike(drawn.scored.final.view(-1, s.num_samples)).float().mean().item()
    redrawn = 0
    for attempt in range(1, s.choices.redraws + 1):
        same = alike(drawn.scored.final.view(-1, s.num_samples)).tolist()
        if not any(same):
            break
        fresh = draw_groups(policy, prompts, scorer, s, iteration, attempt=attempt, number=sum(same))
        everything = everything.joined(fresh)
        redrawn += sum(same)
        kept = members([group for group, is_same in enumerate(same) if not is_same], s.num_samples)
        drawn = drawn.take(kept).joined(fresh)
    found = {"alike": first_alike} if s.num_samples > 1 else {}
    return drawn, everything, found | ({"redrawn": float(redrawn)} if s.choices.redraws else {})


def with_targets(rollout: Rollout, advantages: Tensor) -> list[Row]:
    """The rows with what the loss needs; `advantages`: (B, T)."""
    columns = {"old_logprobs": rollout.logprobs, "ref_logprobs": rollout.ref_logprobs, "advantages": advantages}
    return with_columns(rollout, columns)


def update(
    policy: Policy, rows: Sequence[Row], s: PolicyGradientSettings, kl_coef: float, iteration: int
) -> dict[str, float]:
    """`epochs` passes of steps over the groups. Returns means over all steps."""
    loss = partial(policy_loss, c=s.choices, kl_coef=kl_coef, constant=s.sampling.max_new_tokens)
    num_groups = len(rows) // s.num_samples
    steps = batches(num_groups, s.prompts_a_step, s.epochs, derived_seed(s.seed, "steps", iteration))
    rate = s.learning_rate_at(iteration, s.num_iterations)
    found = []
    for groups in steps:
        mine = [rows[i] for i in members(groups, s.num_samples)]
        metrics = policy.forward_backward(mine, loss, temperature=s.sampling.temperature)
        metrics["gradient_norm"] = policy.step(rate, metrics.pop("count"))
        found.append(metrics)
    return means(found)
