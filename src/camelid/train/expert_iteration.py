"""Expert iteration: fine-tune on the best of what the policy has just written, and again with what came out.

Anthony, Tian and Barber 2017 (arXiv:1705.08439) with a score for the expert; with the best of K it is RAFT (Dong et al.
2023, arXiv:2304.06767). An iteration: draw K completions a prompt, score them, keep the best of each prompt or all from
a threshold on, a few steps of negative log-likelihood. The policy goes on from iteration to iteration. Completions that
were cut are never kept: they would teach not to end. Left out: a penalty on the KL to the start, which is told though.

    camelid expert-iteration --model MODEL --reward_model REWARD --prompts prompts.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from camelid.functional.sft import sft_loss
from camelid.models.batch import Batch, Row
from camelid.models.outputs import Loss, Outputs
from camelid.models.policy import Policy
from camelid.runs import Run, derived_seed
from camelid.train.common import batches, model_card
from camelid.train.groups import GroupSettings, draw_groups, means
from camelid.train.practice import Watch, prepare
from camelid.train.rollout import Drawn, look, measure_drawn, measure_policy
from camelid.types import Prompt


class ExpertIterationSettings(GroupSettings):
    """Expert iteration."""

    num_samples: int = Field(default=4, ge=1)
    """K, completions a prompt."""
    threshold: float | None = None
    """Keep every completion that scores at least this (1: the right answers, by a verifiable reward); null: the best of
    each prompt."""


def train_expert_iteration(run: Run) -> dict[str, Any]:
    """Stage: `model`, `prompts`, `reward_model` -> model/, metrics.jsonl, samples.jsonl, guards.jsonl. Optional inputs:
    `safety_reward_model`, `reward_function` (.py), `alarm_model`, `held_out_prompts`."""
    policy, prompts, watch, too_long = prepare(run)
    metrics = expert_iteration(run, policy, prompts, watch) | too_long
    policy.save(run.path / "model", model_card(run, "Language model after expert iteration", metrics))
    return metrics


def expert_iteration(run: Run, policy: Policy, prompts: Sequence[Prompt], watch: Watch) -> dict[str, Any]:
    """The loop. Changes `policy`; returns the last iteration's metrics."""
    s: ExpertIterationSettings = run.settings
    metrics: dict[str, Any] = {}

    def save(folder: Path) -> None:
        policy.save_state(folder)
        (folder / "expert_iteration.json").write_text(json.dumps({"metrics": metrics, "watch": watch.save(folder)}))

    def load(folder: Path) -> None:
        nonlocal metrics
        policy.load_state(folder)
        saved = json.loads((folder / "expert_iteration.json").read_text())
        metrics = saved["metrics"]
        watch.load(folder, saved["watch"], policy)

    policy.compile_for(s.num_iterations * s.epochs * s.prompts_an_iteration * s.sampling.max_new_tokens)
    start = run.resume(load)
    if start == 0:
        watch.begin(policy)
    with run.progress("iterations", s.num_iterations, start) as tick:
        for iteration in range(start, s.num_iterations):
            if watch.stopped_by:
                break
            done = iteration + 1
            drawn = draw_groups(policy, prompts, watch.scorer, s, iteration)
            # One completion a prompt says as much of the policy as it needs to; only the kept ones train.
            seen = look(policy, drawn.take(range(0, len(drawn.samples), s.num_samples)), s.sampling)
            experts = kept(drawn, s.num_samples, s.threshold)

            metrics = measure_policy(seen) | measure_drawn(drawn) | chosen_of(drawn, s.num_samples, experts)
            watch.before_update(done, drawn, metrics)
            if not watch.stopped_by:
                metrics |= update(policy, experts, s, iteration) | watch.after_update(policy, done)
            run.log(done, **metrics)
            if watch.due(done):
                run.checkpoint(done, save)
            tick(1)
    return metrics | watch.finish(policy)


def kept(drawn: Drawn, num_samples: int, threshold: float | None) -> list[list[Row]]:
    """Of each prompt that has any, the rows of those finished completions that are to be imitated."""
    rows, scores, chosen = drawn.rows, drawn.scored.final.tolist(), []
    for start in range(0, len(rows), num_samples):
        whole = [i for i in range(start, start + num_samples) if drawn.samples[i].finished]
        if threshold is None:
            whole = sorted(whole, key=lambda i: scores[i], reverse=True)[:1]
        else:
            whole = [i for i in whole if scores[i] >= threshold]
        if whole:
            chosen.append([rows[i] for i in whole])
    return chosen


def chosen_of(drawn: Drawn, num_samples: int, experts: Sequence[Sequence[Row]]) -> dict[str, float]:
    """Mean score of each prompt's best, and how much is imitated."""
    scores = drawn.scored.final.view(-1, num_samples)
    return {
        "best_score": scores.max(1).values.mean().item(),
        "kept": sum(map(len, experts)) / scores.numel(),
        "prompts_without": 1 - len(experts) / len(scores),
    }


def update(
    policy: Policy, experts: Sequence[Sequence[Row]], s: ExpertIterationSettings, iteration: int
) -> dict[str, float]:
    """`epochs` passes of steps over the prompts. Returns means over all steps; nothing where nothing was kept."""

    def loss(batch: Batch, outputs: Outputs) -> Loss:
        return Loss(*sft_loss(outputs.logprobs, batch.loss_mask), {})

    steps = batches(len(experts), s.prompts_a_step, s.epochs, derived_seed(s.seed, "steps", iteration))
    rate = s.learning_rate_at(iteration, s.num_iterations)
    found = []
    for step in steps if experts else []:
        metrics = policy.forward_backward([row for i in step for row in experts[i]], loss)
        metrics["gradient_norm"] = policy.step(rate, metrics.pop("count"))
        found.append(metrics)
    return means(found)
