"""Rollouts: completions drawn and scored, then looked at by policy, value head and reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from camelid.functional.kl import kl_k1
from camelid.functional.masks import masked_mean, masked_sum
from camelid.functional.mismatch import Mismatch, mismatch, truncated_importance_weights
from camelid.models.batch import Row
from camelid.models.policy import Policy
from camelid.models.sampling import Sample, Sampling
from camelid.models.value_model import ValueModel
from camelid.train.guards import length_correlation
from camelid.train.scoring import Completion, Scored, Scorer
from camelid.types import Prompt, as_text


class Drawn(NamedTuple):
    """N completions, those of a prompt side by side, each with its prompt, and their scores."""

    prompts: list[Prompt]
    prompt_ids: list[list[int]]
    samples: list[Sample]
    completions: list[Completion]
    scored: Scored

    def take(self, indices: Sequence[int]) -> Drawn:
        """Some of the completions."""
        return Drawn(
            [self.prompts[i] for i in indices],
            [self.prompt_ids[i] for i in indices],
            [self.samples[i] for i in indices],
            [self.completions[i] for i in indices],
            self.scored.take(indices),
        )

    def joined(self, other: Drawn) -> Drawn:
        """These, then the others."""
        return Drawn(
            self.prompts + other.prompts,
            self.prompt_ids + other.prompt_ids,
            self.samples + other.samples,
            self.completions + other.completions,
            self.scored.joined(other.scored),
        )

    @property
    def rows(self) -> list[Row]:
        return [completion_row(ids, sample) for ids, sample in zip(self.prompt_ids, self.samples, strict=True)]


@dataclass(frozen=True)
class Rollout:
    """A batch of completions, (B, T) padded on the right, with everything that was known when they were drawn."""

    drawn: Drawn
    rows: list[Row]
    mask: Tensor
    logprobs: Tensor
    ref_logprobs: Tensor
    values: Tensor
    """(0, 0) where the policy has no value head."""
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
    value_model: ValueModel | None = None,
) -> Rollout:
    """Sample, score, and look at every completion with the policy, the values and the reference."""
    drawn = draw(policy, prompts, score, sampling, seed=seed)
    return look(policy, drawn, sampling, importance_limit=importance_limit, value_model=value_model)


def draw(
    policy: Policy, prompts: Sequence[Prompt], score: Scorer, sampling: Sampling, *, seed: int, num_samples: int = 1
) -> Drawn:
    """Sample `num_samples` completions a prompt and score them."""
    asked = [p for p in prompts for _ in range(num_samples)]
    ids, samples, completions = complete(policy, prompts, sampling, seed=seed, num_samples=num_samples)
    return Drawn(asked, ids, samples, completions, score(asked, completions))


def complete(
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int, num_samples: int = 1
) -> tuple[list[list[int]], list[Sample], list[Completion]]:
    """Completions of each prompt, side by side: their prompts' tokens, as they were drawn, and as they are scored."""
    ids = [policy.chat.prompt_ids(p.prompt) for p in prompts]
    samples = [one for k in policy.sample(ids, sampling, seed=seed, num_samples=num_samples) for one in k]
    completions = [Completion(policy.chat.completion_text(s.ids), len(s.ids), s.finished) for s in samples]
    return [own for own in ids for _ in range(num_samples)], samples, completions


def look(
    policy: Policy,
    drawn: Drawn,
    sampling: Sampling,
    *,
    importance_limit: float = 0.0,
    value_model: ValueModel | None = None,
) -> Rollout:
    """What the policy, the reference and the values say of completions that the policy has just drawn. Values are those
    of `value_model` or, without one, of the policy's value head where it has one."""
    rows, samples = drawn.rows, drawn.samples
    now = policy.outputs(rows, temperature=sampling.temperature)
    reference = policy.reference_logprobs(rows, temperature=sampling.temperature)
    values = value_model.values(rows) if value_model else [o.values for o in now if o.values is not None]
    starts = [len(ids) for ids in drawn.prompt_ids]
    mask = pad_sequence([torch.ones(len(sample.ids), dtype=torch.bool) for sample in samples], batch_first=True)
    logprobs = pad_completions([o.logprobs for o in now], starts)
    at_sampling = pad_sequence([torch.tensor(sample.logprobs) for sample in samples], batch_first=True)
    return Rollout(
        drawn=drawn,
        rows=rows,
        mask=mask,
        logprobs=logprobs,
        ref_logprobs=pad_completions(reference, starts),
        values=pad_completions(values, starts),
        entropy=masked_mean(
            pad_completions([o.entropies for o in now if o.entropies is not None], starts), mask
        ).item(),
        engine=mismatch(at_sampling, logprobs, mask),
        weights=(
            truncated_importance_weights(at_sampling, logprobs, mask, limit=importance_limit)
            if importance_limit
            else None
        ),
    )


def completion_row(prompt_ids: Sequence[int], sample: Sample) -> Row:
    """Prompt and completion, token by token as sampled; only the completion trains."""
    mask = [False] * len(prompt_ids) + [True] * len(sample.ids)
    return Row([*prompt_ids, *sample.ids], mask)


def pad_completions(tensors: Sequence[Tensor], starts: Sequence[int]) -> Tensor:
    """The completion parts of per-row tensors (T_row,), padded on the right with zeros to (B, T), on the CPU."""
    if not tensors:
        return torch.zeros(0, 0)
    return pad_sequence([t[start:].cpu() for t, start in zip(tensors, starts, strict=True)], batch_first=True)


def with_columns(rollout: Rollout, columns: dict[str, Tensor]) -> list[Row]:
    """The rows with what a loss needs of their tokens; `columns`: (B, T) each, in the rows aligned with their ids."""
    rows = []
    for index, row in enumerate(rollout.rows):
        length = int(rollout.mask[index].sum())
        prompt = torch.zeros(len(row.ids) - length)
        values = {name: torch.cat([prompt, column[index, :length]]) for name, column in columns.items()}
        rows.append(Row(row.ids, row.loss_mask, values))
    return rows


def measure(rollout: Rollout, returns: Tensor) -> dict[str, float]:
    """As `measure_policy`, and how good the values are."""
    residual = masked_mean((returns - rollout.values) ** 2, rollout.mask)
    mean = masked_mean(returns, rollout.mask)
    variance = masked_mean((returns - mean) ** 2, rollout.mask)
    return measure_policy(rollout) | {"explained_variance": (1 - residual / variance.clamp_min(1e-8)).item()}


def measure_policy(rollout: Rollout) -> dict[str, float]:
    """What a reader wants to see of an iteration: scores, KL a completion, length, entropy, engine against trainer."""
    per_token = kl_k1(rollout.logprobs, rollout.ref_logprobs)
    return {
        **measure_drawn(rollout.drawn),
        "kl": (masked_sum(per_token, rollout.mask) / len(rollout.rows)).item(),
        "entropy": rollout.entropy,
        **{f"engine_{name}": value for name, value in rollout.engine._asdict().items()},
    }


def measure_drawn(drawn: Drawn) -> dict[str, float]:
    """What completions say without a look at the policy."""
    lengths = torch.tensor([c.num_tokens for c in drawn.completions], dtype=torch.float32)
    return {
        **drawn.scored.means(),
        **length_correlation(drawn.scored.score, lengths),
        "length": lengths.mean().item(),
        "finished": sum(c.finished for c in drawn.completions) / len(drawn.completions),
    }


def sample_rows(iteration: int, drawn: Drawn, number: int) -> list[dict[str, Any]]:
    """The first `number` completions of an iteration with all their scores, for samples.jsonl."""
    return [
        {
            "iteration": iteration,
            "prompt_id": prompt.id,
            "prompt": as_text(prompt.prompt),
            "completion": completion.text,
            "num_tokens": completion.num_tokens,
            "finished": completion.finished,
            "scores": drawn.scored.row(index),
        }
        for index, (prompt, completion) in enumerate(
            zip(drawn.prompts[:number], drawn.completions[:number], strict=True)
        )
    ]
