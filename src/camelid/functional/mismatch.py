"""What drew and what trains are never quite the same model: how far apart they are, and weights that make up for it.

Kernels round differently, an engine may hold other formats, and weights may be a round old. Tokens then come from mu
while the loss takes them for samples of pi.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .kl import kl_k3
from .masks import fill, masked_mean


class Mismatch(NamedTuple):
    """Of the log-probabilities of drawn tokens, in nats."""

    mean: float
    """Of the difference's size."""
    worst: float
    kl: float
    """KL(mu || pi) a token, estimated from the tokens that mu drew (k3)."""


def mismatch(drawn: Tensor, logprobs: Tensor, mask: Tensor) -> Mismatch:
    """`drawn`: log mu of the drawn tokens, `logprobs`: log pi, both (B, T) float32; `mask` (B, T) bool.

    All NaN where the engine gives no log-probabilities.
    """
    ours, theirs = fill(logprobs, mask), fill(drawn, mask)
    gaps = (ours - theirs).abs()
    return Mismatch(masked_mean(gaps, mask).item(), gaps.max().item(), masked_mean(kl_k3(theirs, ours), mask).item())


def truncated_importance_weights(drawn: Tensor, logprobs: Tensor, mask: Tensor, *, limit: float) -> Tensor:
    """min(pi / mu, `limit`) of each token, (B, T) float32 without a gradient; 1 where the mask is False.

    Truncation bounds the variance at the price of a bias (Ionides 2008, 'Truncated Importance Sampling'); a token at a
    time, for the mismatch of engine and trainer: Yao et al. 2025, 'Your efficient RL framework secretly brings you
    off-policy RL training'. Arguments as in `mismatch`. Raises ValueError for log-probabilities that are not known.
    """
    difference = fill(logprobs - drawn, mask).detach()
    if difference.isnan().any():
        raise ValueError(
            "the engine gave no log-probabilities, so there are no importance weights: set importance_limit=0, or "
            "sample with engine.kind=own or vllm"
        )
    return difference.exp().clamp(max=limit)
