"""What learning from groups of completions will cost; as `estimates`, whose table takes this one in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camelid.costs import Cost
from camelid.expected import Left, Reads


def train_policy_gradient(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every completion trains. Groups that are drawn again are not counted: how many will be is not known."""
    return _groups(s, reads, cost, looked_at=s.num_samples, trained=s.num_samples)


def train_online_dpo(s: Any, reads: Reads, cost: Cost) -> Left:
    """Every prompt is taken to make a pair."""
    return _groups(s, reads, cost, looked_at=s.num_samples, trained=2)


def train_expert_iteration(s: Any, reads: Reads, cost: Cost) -> Left:
    """One completion a prompt is looked at; with a threshold all completions are taken to pass it."""
    return _groups(s, reads, cost, looked_at=1, trained=1 if s.threshold is None else s.num_samples)


def _groups(s: Any, reads: Reads, cost: Cost, *, looked_at: int, trained: int) -> Left:
    """As PPO without its value head: `looked_at` and `trained` are completions a prompt."""
    shape, reward, prompts = reads.shape("model"), reads.shape("reward_model"), reads.rows("prompts")
    asked, new = s.num_iterations * s.prompts_an_iteration, s.sampling.max_new_tokens
    length = prompts.prompt_tokens + new
    cost.load_for_training(shape, s.model)
    if not s.share_trunk:
        cost.load(reward)
    if not s.model.lora_rank:
        cost.load(shape)  # without adapters to switch off, the reference is a copy
    cost.sample(shape, s.sampling, asked, prompts.prompt_tokens, copies=s.num_samples, calls=s.num_iterations)
    at_once = s.model.micro_batch_tokens
    cost.score(reward, asked * s.num_samples * length, at_once=at_once)
    # The policy's pass takes log-probabilities and entropies from logits of their own, the reference's only the former.
    seen = asked * looked_at
    cost.score(shape, 2 * seen * length, with_head=3 * seen * new, at_once=at_once)
    rows = s.epochs * asked * trained
    at = {"length": length, "step_tokens": min(s.prompts_a_step, s.prompts_an_iteration) * trained * length}
    cost.train(shape, s.model, rows * length, with_head=rows * new, **at)
    return {"model": shape}


TABLE: dict[str, Callable[[Any, Reads, Cost], Left]] = {
    "camelid.train.policy_gradient.train_policy_gradient": train_policy_gradient,
    "camelid.train.online_dpo.train_online_dpo": train_online_dpo,
    "camelid.train.expert_iteration.train_expert_iteration": train_expert_iteration,
}
"""By module and name of the stage's function."""
