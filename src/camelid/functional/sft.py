"""The loss of supervised fine-tuning."""

from __future__ import annotations

from torch import Tensor

from .masks import masked_sum


def sft_loss(logprobs: Tensor, mask: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of the supervised tokens: L = - sum_t w_t log pi(y_t | x, y_<t).

    With the mask on the completions only this is LLaMA-2's fine-tuning loss, zeroed on the prompt (Touvron et al. 2023,
    arXiv:2307.09288, section 3.1). `logprobs`: (B, T) float32, in nats. `mask`: (B, T) bool, True on supervised tokens.
    `weights`: (B, T), all 1 if left out. Returns the sum and the sum of the supervised tokens' weights (without weights
    their number); the caller divides once per optimizer step.
    """
    if weights is None:
        return -masked_sum(logprobs, mask), mask.sum()
    return -masked_sum(weights * logprobs, mask), masked_sum(weights, mask)
