"""Rollouts of PPO: completions drawn, scored, and looked at by policy, value head and reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from camelid.functional.kl import kl_k1
from camelid.functional.masks import masked_mean, masked_sum
from camelid.functional.mismatch import Mismatch, mismatch, truncated_importance_weights
from camelid.models.batch import Row
from camelid.models.policy import Policy
from camelid.models.sampling import Sample, Sampling
from camelid.train.guards import length_correlation
from camelid.train.scoring import Completion, Scored, Scorer
from camelid.types import Prompt, as_text


@dataclass(frozen=True)
class Rollout:
    """A batch of completions, (B, T) padded on the right, with everything that was known when they were drawn."""

    rows: list[Row]
    completions: list[Completion]
    scored: Scored
    mask: Tensor
    logprobs: Tensor
    ref_logprobs: Tensor
    values: Tensor
    entropy: float
    engine: Mismatch
    """Between what drew and the policy as it trains."""
    weights: Tensor | None
    """Importance weights that make up for it."""


def roll_out(
    policy: Policy,
    prompts: Sequence[Prompt],
    score: Scorer,
    sampling: Sampling,
    *,
    seed: int,
    importance_limit: float = 0.0,
) -> Rollout:
    """Sample, score, and look at every completion with the policy, the value head and the reference."""
    samples, completions = complete(policy, prompts, sampling, seed=seed)
    prompt_ids = [policy.chat.prompt_ids(p.prompt) for p in prompts]
    rows = [completion_row(ids, sample) for ids, sample in zip(prompt_ids, samples, strict=True)]
    now = policy.outputs(rows, temperature=sampling.temperature)
    reference = policy.reference_logprobs(rows, temperature=sampling.temperature)
    starts = [len(ids) for ids in prompt_ids]
    mask = pad_sequence([torch.ones(len(sample.ids), dtype=torch.bool) for sample in samples], batch_first=True)
    logprobs = pad_completions([o.logprobs for o in now], starts)
    drawn = pad_sequence([torch.tensor(sample.logprobs) for sample in samples], batch_first=True)
    return Rollout(
        rows=rows,
        completions=completions,
        scored=score(prompts, completions),
        mask=mask,
        logprobs=logprobs,
        ref_logprobs=pad_completions(reference, starts),
        values=pad_completions([o.values for o in now if o.values is not None], starts),
        entropy=masked_mean(
            pad_completions([o.entropies for o in now if o.entropies is not None], starts), mask
        ).item(),
        engine=mismatch(drawn, logprobs, mask),
        weights=(
            truncated_importance_weights(drawn, logprobs, mask, limit=importance_limit) if importance_limit else None
        ),
    )


def complete(
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int
) -> tuple[list[Sample], list[Completion]]:
    """A completion of each prompt: as it was drawn, and as it is scored."""
    drawn = policy.sample([policy.chat.prompt_ids(p.prompt) for p in prompts], sampling, seed=seed)
    samples = [k[0] for k in drawn]
    texts = [policy.chat.completion_text(sample.ids) for sample in samples]
    return samples, [Completion(t, len(s.ids), s.finished) for t, s in zip(texts, samples, strict=True)]


def completion_row(prompt_ids: Sequence[int], sample: Sample) -> Row:
    """Prompt and completion, token by token as sampled; only the completion trains."""
    mask = [False] * len(prompt_ids) + [True] * len(sample.ids)
    return Row([*prompt_ids, *sample.ids], mask)


def pad_completions(tensors: Sequence[Tensor], starts: Sequence[int]) -> Tensor:
    """The completion parts of per-row tensors (T_row,), padded on the right with zeros to (B, T), on the CPU."""
    return pad_sequence([t[start:].cpu() for t, start in zip(tensors, starts, strict=True)], batch_first=True)


def measure(rollout: Rollout, returns: Tensor) -> dict[str, float]:
    """What a reader wants to see of an iteration: scores, KL a completion, length, entropy, how good the values are."""
    per_token = kl_k1(rollout.logprobs, rollout.ref_logprobs)
    residual = masked_mean((returns - rollout.values) ** 2, rollout.mask)
    mean = masked_mean(returns, rollout.mask)
    variance = masked_mean((returns - mean) ** 2, rollout.mask)
    lengths = rollout.mask.sum(1).float()
    return {
        **rollout.scored.means(),
        **length_correlation(rollout.scored.score, lengths),
        "kl": (masked_sum(per_token, rollout.mask) / len(rollout.rows)).item(),
        "length": lengths.mean().item(),
        "finished": sum(c.finished for c in rollout.completions) / len(rollout.completions),
        "entropy": rollout.entropy,
        **{f"engine_{name}": value for name, value in rollout.engine._asdict().items()},
        "explained_variance": (1 - residual / variance.clamp_min(1e-8)).item(),
    }


def sample_rows(iteration: int, prompts: Sequence[Prompt], rollout: Rollout, number: int) -> list[dict[str, Any]]:
    """The first `number` completions of an iteration with all their scores, for samples.jsonl."""
    return [
        {
            "iteration": iteration,
            "prompt_id": prompt.id,
            "prompt": as_text(prompt.prompt),
            "completion": completion.text,
            "num_tokens": completion.num_tokens,
            "finished": completion.finished,
            "scores": rollout.scored.row(index),
        }
        for index, (prompt, completion) in enumerate(zip(prompts[:number], rollout.completions[:number], strict=True))
    ]
