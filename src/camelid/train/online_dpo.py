"""Online DPO: pairs of the policy's own completions, drawn anew each iteration, and DPO's loss on them.

Guo et al. 2024 (arXiv:2402.04792), with a reward model for the judge. An iteration: draw K completions a prompt, score
them, take the best against the worst of each prompt, a few steps. A prompt whose completions score alike makes no pair.
The reference is the policy as it was before training. Left out: losses that use how far apart the scores are.

    camelid online-dpo --model MODEL --reward_model REWARD --prompts prompts.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from camelid.functional.advantages import alike
from camelid.models.batch import Row
from camelid.models.policy import Policy
from camelid.runs import Run, derived_seed
from camelid.train.common import batches, model_card
from camelid.train.groups import GroupSettings, draw_groups, means
from camelid.train.pair_loss import PairLossSettings, pair_loss
from camelid.train.practice import Watch, prepare
from camelid.train.rollout import Drawn, look, measure_policy, with_columns
from camelid.types import Prompt


class OnlineDpoSettings(GroupSettings, PairLossSettings):
    """Online direct preference optimization."""

    num_samples: int = Field(default=2, ge=2)
    """K, completions a prompt; of more than two, the best and the worst make the pair."""

    @model_validator(mode="after")
    def _one_loss(self) -> Self:
        if self.loss == "ipo" and self.label_smoothing:
            raise ValueError("loss=ipo and label_smoothing are two losses; choose one of them")
        return self


def train_online_dpo(run: Run) -> dict[str, Any]:
    """Stage: `model`, `prompts`, `reward_model` -> model/, metrics.jsonl, samples.jsonl, guards.jsonl. Optional inputs:
    `safety_reward_model`, `reward_function` (.py), `alarm_model`, `held_out_prompts`."""
    policy, prompts, watch, too_long = prepare(run)
    metrics = online_dpo(run, policy, prompts, watch) | too_long
    policy.save(run.path / "model", model_card(run, "Language model after online DPO", metrics))
    return metrics


def online_dpo(run: Run, policy: Policy, prompts: Sequence[Prompt], watch: Watch) -> dict[str, Any]:
    """The loop. Changes `policy`; returns the last iteration's metrics."""
    s: OnlineDpoSettings = run.settings
    metrics: dict[str, Any] = {}

    def save(folder: Path) -> None:
        policy.save_state(folder)
        (folder / "online_dpo.json").write_text(json.dumps({"metrics": metrics, "watch": watch.save(folder)}))

    def load(folder: Path) -> None:
        nonlocal metrics
        policy.load_state(folder)
        saved = json.loads((folder / "online_dpo.json").read_text())
        metrics = saved["metrics"]
        watch.load(folder, saved["watch"], policy)

    policy.compile_for(s.num_iterations * s.epochs * s.prompts_an_iteration * 2 * s.sampling.max_new_tokens)
    start = run.resume(load)
    if start == 0:
        watch.begin(policy)
    with run.progress("iterations", s.num_iterations, start) as tick:
        for iteration in range(start, s.num_iterations):
            if watch.stopped_by:
                break
            done = iteration + 1
            drawn = draw_groups(policy, prompts, watch.scorer, s, iteration)
            rollout = look(policy, drawn, s.sampling)
            rows = with_columns(rollout, {"ref_logprobs": rollout.ref_logprobs})
            pairs = [(rows[best], rows[worst]) for best, worst in best_and_worst(drawn, s.num_samples)]

            metrics = measure_policy(rollout) | {"alike": 1 - len(pairs) * s.num_samples / len(rows)}
            watch.before_update(done, drawn, metrics)
            if not watch.stopped_by:
                metrics |= update(policy, pairs, s, iteration) | watch.after_update(policy, done)
            run.log(done, **metrics)
            if watch.due(done):
                run.checkpoint(done, save)
            tick(1)
    return metrics | watch.finish(policy)


def best_and_worst(drawn: Drawn, num_samples: int) -> list[tuple[int, int]]:
    """Places of each prompt's best and worst completion; none for a prompt whose completions score alike."""
    scores = drawn.scored.final.view(-1, num_samples)
    ends = zip(scores.argmax(1).tolist(), scores.argmin(1).tolist(), alike(scores).tolist(), strict=True)
    return [(g * num_samples + best, g * num_samples + worst) for g, (best, worst, same) in enumerate(ends) if not same]


def update(policy: Policy, pairs: Sequence[tuple[Row, Row]], s: OnlineDpoSettings, iteration: int) -> dict[str, float]:
    """`epochs` passes of steps over the pairs. Returns means over all steps; nothing where there is no pair."""
    steps = batches(len(pairs), s.prompts_a_step, s.epochs, derived_seed(s.seed, "steps", iteration))
    rate = s.learning_rate_at(iteration, s.num_iterations)
    found = []
    for step in steps if pairs else []:
        loss = partial(pair_loss, s=s, offsets=[0.0] * len(step))
        mine = [pairs[i] for i in step]
        metrics = policy.forward_backward_groups(mine, loss, temperature=s.sampling.temperature)
        metrics["gradient_norm"] = policy.step(rate, metrics.pop("count"))
        found.append(metrics)
    return means(found)
