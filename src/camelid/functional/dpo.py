"""Losses of preference pairs without a reward model: DPO, its label-smoothed and offset forms, and IPO.

All take log-probabilities of whole completions under the policy and under the frozen reference, chosen and rejected:
four tensors (B,) float32, in nats. They meet in one number a pair, the difference of two log-ratios

    h = log pi(y_w | x) / ref(y_w | x) - log pi(y_l | x) / ref(y_l | x)

Sums over the completion's tokens give the papers' losses. Means a token (`mean_logprobs`) give length-normalised DPO
(Lambert et al. 2024, Tulu 3, arXiv:2411.15124, section 5), where a long answer no longer moves more than a short one;
beta then wants to be some ten times larger, since h is so much smaller.
Left out: SimPO, which has no reference (arXiv:2405.14734); other divergences than the KL.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def log_ratio_margins(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> Tensor:
    """h of each pair, (B,). Raises ValueError if the four shapes differ."""
    shapes = [tuple(x.shape) for x in (chosen, rejected, ref_chosen, ref_rejected)]
    if len(set(shapes)) > 1:
        raise ValueError(f"chosen, rejected and their references have shapes {shapes}; they must be equal")
    return (chosen - ref_chosen) - (rejected - ref_rejected)


def mean_logprobs(logprobs: Tensor, lengths: Tensor) -> Tensor:
    """Log-probability a token of completions (B,) with summed `logprobs` and `lengths` in tokens."""
    if (lengths < 1).any():
        raise ValueError("a completion of no tokens has no mean log-probability; drop it")
    return logprobs / lengths


def dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """DPO (Rafailov et al. 2023, arXiv:2305.18290, eq. 7), conservative where labels are smoothed.

        L = - sum_b (1 - e) log sigmoid(beta h_b) + e log sigmoid(-beta h_b)

    e = `label_smoothing`: the share of labels taken to be wrong (Mitchell 2023, 'A note on DPO with noisy preferences
    and relationship to IPO', ericmitchell.ai/cdpo.pdf). With e > 0 the loss has its minimum at
    sigmoid(beta h) = 1 - e instead of at infinity.
    Returns the sum and the number of pairs; the caller divides once per optimizer step.
    """
    _check(beta)
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing is {label_smoothing}; it must be in [0, 0.5), where labels are mostly right")
    scaled = beta * log_ratio_margins(chosen, rejected, ref_chosen, ref_rejected)
    right, wrong = F.logsigmoid(scaled), F.logsigmoid(-scaled)
    return -((1 - label_smoothing) * right + label_smoothing * wrong).sum(), _count(scaled)


def offset_dpo_loss(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, offsets: Tensor, *, beta: float
) -> tuple[Tensor, Tensor]:
    """DPO with an offset (Amini, Vieira and Cotterell 2024, arXiv:2402.10571): a clear verdict wants a larger gap.

        L = - sum_b log sigmoid(beta h_b - d_b)

    `offsets`: (B,) float32, d, in the units of beta h. They scale a difference of scores; where people gave ratings
    instead, LLaMA-2's margins by rating (`ranking.margin_of`) have the same place under the sigmoid.
    Returns the sum and the number of pairs.
    """
    _check(beta)
    scaled = beta * log_ratio_margins(chosen, rejected, ref_chosen, ref_rejected)
    if offsets.shape != scaled.shape:
        raise ValueError(f"offsets of shape {tuple(offsets.shape)} for {tuple(scaled.shape)} pairs; give one a pair")
    return -F.logsigmoid(scaled - offsets).sum(), _count(scaled)


def ipo_loss(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, *, beta: float
) -> tuple[Tensor, Tensor]:
    """IPO (Azar et al. 2023, arXiv:2310.12036, eq. 17, whose tau is our beta): h is drawn to a finite target.

        L = sum_b (h_b - 1 / (2 beta))^2

    DPO on pairs that are always won pushes h to infinity, whatever beta; here the gradient turns beyond the target.
    With sums the squared loss grows with the length of completions; TRL takes means a token, and says that the
    authors did. Returns the sum and the number of pairs.
    """
    _check(beta)
    margins = log_ratio_margins(chosen, rejected, ref_chosen, ref_rejected)
    return (margins - 1 / (2 * beta)).square().sum(), _count(margins)


def _count(pairs: Tensor) -> Tensor:
    return torch.tensor(pairs.numel(), device=pairs.device)


def _check(beta: float) -> None:
    if not beta > 0:
        raise ValueError(f"beta is {beta}; it must be positive")
