"""The losses of proximal policy optimisation: policy, value, and how much of the batch was clipped."""

from __future__ import annotations

import torch
from torch import Tensor

from .masks import fill, masked_sum
from .policy_gradient import clipped_losses, outside, ratios


def ppo_policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, *, clip: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Clipped surrogate policy loss (Schulman et al. 2017, arXiv:1707.06347, eq. 7).

        L = - sum_t min(r_t A_t, clip(r_t, 1 - clip, 1 + clip) A_t),    r_t = pi(a_t) / pi_old(a_t)

    `logprobs`, `old_logprobs`, `advantages`: (B, T) float32. `mask`: (B, T) bool, True on completion tokens.
    Returns the sum and the token count; the caller divides once per optimizer step.
    """
    losses = clipped_losses(ratios(logprobs, old_logprobs, mask), advantages, mask, clip_low=clip, clip_high=clip)
    return masked_sum(losses, mask), mask.sum()


def ppo_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, clip: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Clipped value loss, with the factor 1/2 (Huang, Liu and von Werra 2023, 'N implementation details', policy 10).

        L = 1/2 sum_t max((V_t - R_t)^2, (clip(V_t, V_old_t - clip, V_old_t + clip) - R_t)^2)

    All tensors (B, T) float32 in units of reward; `old_values` are those at sampling; `mask`: (B, T) bool.
    `clip` is an absolute distance, not a ratio. It is no part of the PPO paper: it comes from OpenAI's code.
    Returns the sum and the token count; the caller divides once per optimizer step and applies its own coefficient.
    """
    clipped_values = old_values + (values - old_values).clamp(-clip, clip)
    # Filled before the square: the derivative of a NaN's square is NaN, even where the sum ignores it.
    error = fill(values - returns, mask)
    clipped_error = fill(clipped_values - returns, mask)
    return torch.maximum(error.square(), clipped_error.square()).sum() / 2, mask.sum()


@torch.no_grad()
def clip_fraction(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, *, clip: float = 0.2) -> tuple[Tensor, Tensor]:
    """How many tokens have a ratio outside [1 - clip, 1 + clip], and how many tokens there are.

    Arguments as in `ppo_policy_loss`. A diagnostic: it carries no gradient, and it also counts tokens whose gradient
    is not cut because their advantage pulls them back.
    """
    return outside(ratios(logprobs, old_logprobs, mask), clip_low=clip, clip_high=clip).sum(), mask.sum()
