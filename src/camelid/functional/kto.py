"""KTO: learning from completions that are each good or bad, without pairs (Ethayarajh et al. 2024, arXiv:2402.01306).

Left out: the variant without a reference model, and the paper's offline estimate of the reference point.
"""

from __future__ import annotations

import torch
from torch import Tensor


def reference_point(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Estimate of KL(policy || reference) that completions are judged against, a scalar (section 4.1).

        z0 = max(0, 1/m sum_i log pi(y'_i | x_i) / ref(y'_i | x_i))

    `logprobs`, `ref_logprobs`: (m,) float32, log-probabilities of *mismatched* completions: each prompt x_i with the
    completion y'_i of another. Biased, and cheap: nothing is sampled. No gradient flows through it, as in the paper.
    """
    if logprobs.shape != ref_logprobs.shape or not logprobs.numel():
        raise ValueError(f"{logprobs.numel()} mismatched completions, {ref_logprobs.numel()} of the reference")
    return (logprobs - ref_logprobs).detach().mean().clamp_min(0)


def kto_loss(
    logprobs: Tensor,
    ref_logprobs: Tensor,
    desirable: Tensor,
    reference: Tensor,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """KTO (arXiv:2402.01306, section 4.1): the value, by prospect theory, of a completion beside the reference point.

        r = log pi(y | x) / ref(y | x)
        L = sum_i l_D (1 - sigmoid(beta (r_i - z0)))   over desirable completions
          + sum_i l_U (1 - sigmoid(beta (z0 - r_i)))   over undesirable ones

    `logprobs`, `ref_logprobs`: (B,) float32, sums over the completions. `desirable`: (B,) bool. `reference`: z0, a
    scalar, the same for every part of a batch. l_D and l_U are the weights; the paper keeps
    l_D n_D / (l_U n_U) between 1 and 4/3, n being how many of each kind there are.
    Where r = z0 a completion costs half its weight. Returns the sum and the number of completions.
    """
    if not beta > 0:
        raise ValueError(f"beta is {beta}; it must be positive")
    if not logprobs.shape == ref_logprobs.shape == desirable.shape:
        shapes = tuple(logprobs.shape), tuple(ref_logprobs.shape), tuple(desirable.shape)
        raise ValueError(f"logprobs, ref_logprobs and desirable have shapes {shapes}; they must be equal")
    gain = beta * (logprobs - ref_logprobs - reference)
    good = desirable_weight * torch.sigmoid(-gain)  # 1 - sigmoid(x) = sigmoid(-x), without the rounding near 1
    bad = undesirable_weight * torch.sigmoid(gain)
    return torch.where(desirable, good, bad).sum(), torch.tensor(logprobs.numel(), device=logprobs.device)
