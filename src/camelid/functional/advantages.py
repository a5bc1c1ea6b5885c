"""Advantages of whole completions from their scores alone: what stands in for a value network.

A prompt has K completions, a *group*; what its other completions scored says how hard the prompt was. All functions
take `scores`, (P, K) float32 for P prompts, in any units, and return (P, K) without gradient. Every token of a
completion gets its completion's advantage.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .standardize import RELATIVE_FLOOR

EPSILON = 1e-4
"""Added to a group's standard deviation, as in TRL; scores that differ by less are nearly alike."""


@torch.no_grad()
def leave_one_out(scores: Tensor) -> Tensor:
    """RLOO (Ahmadian et al. 2024, arXiv:2402.14740, after Kool et al. 2019): the mean of the others is the baseline.

        A_k = s_k - 1 / (K - 1) sum_{j != k} s_j = K / (K - 1) (s_k - mean)

    The baseline does not depend on the completion itself, so the gradient is unbiased.
    """
    num_samples = _num_samples(scores)
    return group_centred(scores) * (num_samples / (num_samples - 1))


@torch.no_grad()
def group_centred(scores: Tensor) -> Tensor:
    """Dr. GRPO (Liu et al. 2025, arXiv:2503.20783, section 3): A_k = s_k - mean, in the units of the scores.

    The gradient is (K - 1) / K that of `leave_one_out`: the same direction.
    """
    _num_samples(scores)
    return scores - scores.mean(1, keepdim=True)


@torch.no_grad()
def group_standardized(scores: Tensor) -> Tensor:
    """GRPO (Shao et al. 2024, arXiv:2402.03300, section 4.1.2): A_k = (s_k - mean) / (std + EPSILON).

    The paper does not say which standard deviation; this is that of a sample, over K - 1, as in TRL and verl. That over
    K makes every advantage sqrt(K / (K - 1)) times larger. Groups that are nearly alike weigh as much as others, which
    favours prompts that are too easy or too hard (Dr. GRPO's objection).
    """
    return group_centred(scores) / (scores.std(1, keepdim=True) + EPSILON)


@torch.no_grad()
def batch_centred(scores: Tensor) -> Tensor:
    """REINFORCE (Williams 1992) with the batch's mean as baseline: A = s - mean over all P K completions.

    A completion is in its own baseline, which shrinks the mean gradient by 1 / (P K).
    """
    return scores - scores.mean()


@dataclass
class RunningMean:
    """Mean of all scores so far: the moving baseline of REINFORCE (Ahmadian et al. 2024, arXiv:2402.14740).

    The state is these two numbers: `dataclasses.asdict(it)` saves it, `RunningMean(**saved)` restores it.
    """

    mean: float = 0.0
    number: int = 0
    """Scores that are in it."""

    def advantages(self, scores: Tensor) -> Tensor:
        """Take the scores in, then s - mean. The first batch has its own mean; 0 would be a baseline of no meaning."""
        self.number += scores.numel()
        self.mean += (scores.mean().item() - self.mean) * scores.numel() / self.number
        return scores - self.mean


def alike(scores: Tensor) -> Tensor:
    """(P,) bool: groups whose scores are all the same up to rounding, so that they say nothing about their completions.

    DAPO (Yu et al. 2025, arXiv:2503.14476, section 3.2) drops such groups and draws others, "dynamic sampling".
    """
    spread = scores.max(1).values - scores.min(1).values
    return spread <= RELATIVE_FLOOR * scores.abs().max(1).values


def _num_samples(scores: Tensor) -> int:
    num_samples = scores.shape[1]
    if num_samples < 2:
        raise ValueError("a group of one completion has no others to compare it with: draw at least 2 a prompt")
    return num_samples
