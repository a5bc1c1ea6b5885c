"""Rollouts of PPO: completions drawn, scored, and looked at by policy, value head and reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from camelid.functional.kl import kl_k1
from camelid.functional.masks import masked_mean, masked_sum
from camelid.functional.mismatch import Mismatch, mismatch, truncated_importance_weights
from camelid.models.batch import Row
from camelid.models.policy import Policy
from camelid.models.sampling import Sample, Sampling
from camelid.types import Prompt

Score = Callable[[Sequence[Prompt], Sequence[str]], Tensor]
"""(prompts, completions) -> scores (B,)."""


@dataclass(frozen=True)
class Rollout:
    """A batch of completions, (B, T) padded on the right, with everything that was known when they were drawn."""

    rows: list[Row]
    mask: Tensor
    logprobs: Tensor
    ref_logprobs: Tensor
    values: Tensor
    scores: Tensor
    entropy: float
    engine: Mismatch
    """Between what drew and the policy as it trains."""
    weights: Tensor | None
    """Importance weights that make up for it."""
    finished: float


def roll_out(
    policy: Policy,
    prompts: Sequence[Prompt],
    score: Score,
    sampling: Sampling,
    *,
    seed: int,
    unfinished_score: float | None = None,
    importance_limit: float = 0.0,
) -> Rollout:
    """Sample, score, and look at every completion with the policy, the value head and the reference."""
    prompt_ids = [policy.chat.prompt_ids(p.prompt) for p in prompts]
    samples = [k[0] for k in policy.sample(prompt_ids, sampling, seed=seed)]
    texts = [policy.chat.completion_text(sample.ids) for sample in samples]
    scores = score(prompts, texts).float()
    finished = torch.tensor([sample.finished for sample in samples])
    if unfinished_score is not None:
        scores = torch.where(finished, scores, unfinished_score)

    rows = [completion_row(ids, sample) for ids, sample in zip(prompt_ids, samples, strict=True)]
    now = policy.outputs(rows, temperature=sampling.temperature)
    reference = policy.reference_logprobs(rows, temperature=sampling.temperature)
    starts = [len(ids) for ids in prompt_ids]
    mask = pad_sequence([torch.ones(len(sample.ids), dtype=torch.bool) for sample in samples], batch_first=True)
    logprobs = pad_completions([o.logprobs for o in now], starts)
    drawn = pad_sequence([torch.tensor(sample.logprobs) for sample in samples], batch_first=True)
    return Rollout(
        rows=rows,
        mask=mask,
        logprobs=logprobs,
        ref_logprobs=pad_completions(reference, starts),
        values=pad_completions([o.values for o in now if o.values is not None], starts),
        scores=scores,
        entropy=masked_mean(
            pad_completions([o.entropies for o in now if o.entropies is not None], starts), mask
        ).item(),
        engine=mismatch(drawn, logprobs, mask),
        weights=(
            truncated_importance_weights(drawn, logprobs, mask, limit=importance_limit) if importance_limit else None
        ),
        finished=finished.float().mean().item(),
    )


def completion_row(prompt_ids: Sequence[int], sample: Sample) -> Row:
    """Prompt and completion, token by token as sampled; only the completion trains."""
    mask = [False] * len(prompt_ids) + [True] * len(sample.ids)
    return Row([*prompt_ids, *sample.ids], mask)


def pad_completions(tensors: Sequence[Tensor], starts: Sequence[int]) -> Tensor:
    """The completion parts of per-row tensors (T_row,), padded on the right with zeros to (B, T), on the CPU."""
    return pad_sequence([t[start:].cpu() for t, start in zip(tensors, starts, strict=True)], batch_first=True)


def measure(rollout: Rollout, returns: Tensor) -> dict[str, float]:
    """What a reader wants to see of an iteration: score, KL a completion, length, entropy, how good the values are."""
    per_token = kl_k1(rollout.logprobs, rollout.ref_logprobs)
    residual = masked_mean((returns - rollout.values) ** 2, rollout.mask)
    mean = masked_mean(returns, rollout.mask)
    variance = masked_mean((returns - mean) ** 2, rollout.mask)
    return {
        "score": rollout.scores.mean().item(),
        "kl": (masked_sum(per_token, rollout.mask) / len(rollout.rows)).item(),
        "length": rollout.mask.sum(1).float().mean().item(),
        "finished": rollout.finished,
        "entropy": rollout.entropy,
        **{f"engine_{name}": value for name, value in rollout.engine._asdict().items()},
        "explained_variance": (1 - residual / variance.clamp_min(1e-8)).item(),
    }
