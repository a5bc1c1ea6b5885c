"""Policy-gradient losses by their named choices: which probability ratio, clipped where, tokens averaged how.

Loss of token t of completion i with advantage A, and its mean over tokens and completions:

    l_t = - min(r A, clip(r, 1 - clip_low, 1 + clip_high) A),        L = sum_i sum_t w_it l_it / count

Shapes are (B, T) throughout: B completions padded on the right (prompts in front may stay, masked out), `mask` (B, T)
bool, True on completion tokens. On the policy r = 1, and with average "sum" the gradient is REINFORCE's for every
ratio but "completion_mean".
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .kl import kl_k1, kl_k2, kl_k3
from .masks import fill, masked_sum

Ratio = Literal["token", "completion", "completion_mean"]
Average = Literal["completion", "token", "constant", "sum"]
KLEstimator = Literal["k1", "k2", "k3", "unbiased"]


def ratios(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, *, ratio: Ratio = "token") -> Tensor:
    """pi / pi_old, (B, T): of each token, or of its whole completion, which all of its tokens share.

        token             pi(a_t) / pi_old(a_t)                     PPO, GRPO
        completion        prod_t pi(a_t) / pi_old(a_t)              the completion as one action; TRL's RLOO
        completion_mean   its |y|-th root                           GSPO (Zheng et al. 2025, arXiv:2507.18071)

    `logprobs`, `old_logprobs`: (B, T) float32, nats. A masked-out token counts as 1 in "token".
    """
    # Mask the log-ratio before exp(): a padded +inf would survive torch.where as a NaN gradient.
    log_ratio = fill(logprobs - old_logprobs, mask)
    if ratio == "token":
        return log_ratio.exp()
    whole = log_ratio.sum(1, keepdim=True)
    if ratio == "completion_mean":
        whole = whole / mask.sum(1, keepdim=True)
    return whole.exp().expand_as(log_ratio)


def clipped_losses(ratio: Tensor, advantages: Tensor, mask: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """- min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) of each token (Schulman et al. 2017, arXiv:1707.06347, eq. 7).

    A clip_high above clip_low leaves unlikely tokens more room to rise (DAPO, Yu et al. 2025, arXiv:2503.14476, section
    3.1). A clip of math.inf cuts nothing on its side. `ratio`, `advantages`: (B, T) float32; returns (B, T).
    """
    # Filled before the product: a completion's ratio is that of its padding too, and NaN there would be its gradient.
    advantages = fill(advantages, mask)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)


@torch.no_grad()
def outside(ratio: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """1 where the ratio is outside [1 - clip_low, 1 + clip_high], else 0, as float32: to be averaged, for the log.

    Tokens whose advantage pulls them back count too, though their gradient is not cut.
    """
    return ((ratio - 1 < -clip_low) | (ratio - 1 > clip_high)).float()


def kl_losses(
    logprobs: Tensor, old_logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, *, estimator: KLEstimator
) -> Tensor:
    """A per-token loss that holds the policy to the reference, (B, T), 0 where the mask is False.

    For a token a ~ pi_old in a state s, with d = log pi(a|s) - log ref(a|s) and r = pi(a|s) / pi_old(a|s):

        estimator  value            gradient                   its mean on the policy, pi = pi_old
        k1         d                grad log pi                0: holds the policy to nothing
        k2         d^2 / 2          d grad log pi              grad KL(pi(.|s) || ref(.|s))
        k3         e^-d - 1 + d     (1 - e^-d) grad log pi     grad KL(ref(.|s) || pi(.|s))
        unbiased   r k3             r d grad log pi            grad KL(pi(.|s) || ref(.|s))

    k3 is GRPO's (arXiv:2402.03300, eq. 4). Off the policy, pi != pi_old, only "unbiased" keeps its mean:
    sum_a pi_old r d grad log pi = sum_a pi d grad log pi = grad KL(pi || ref), for any pi_old that gives mass wherever
    pi does; its value, too, is that KL in the mean (DeepSeek-AI 2025, DeepSeek-V3.2, arXiv:2512.02556). The gradient
    flows through r.

    All of this is of the KL *in the states that were visited*: that another first token leads to other states, with
    another KL, is in none of the four. The gradient of the KL between whole completions is what `completion_kl`,
    subtracted from the score, gives (Ziegler et al. 2019, arXiv:1909.08593, eq. 2).
    """
    now, old, ref = (fill(x, mask) for x in (logprobs, old_logprobs, ref_logprobs))
    if estimator == "k1":
        return kl_k1(now, ref)
    if estimator == "k2":
        return kl_k2(now, ref)
    if estimator == "k3":
        return kl_k3(now, ref)
    if estimator == "unbiased":
        return (now - old).exp() * kl_k3(now, ref)
    raise ValueError(f"no KL estimator {estimator!r}; there are k1, k2, k3, unbiased")


@torch.no_grad()
def completion_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
    """(B,) log pi(y) - log ref(y) of each completion: k1 summed over its tokens, to be subtracted from its score.

    Score-function gradients of it are unbiased for the KL between whole completions, other states included.
    """
    return fill(kl_k1(logprobs, ref_logprobs), mask).sum(1)


def averaged(losses: Tensor, mask: Tensor, *, average: Average, constant: float = 1.0) -> tuple[Tensor, Tensor]:
    """(sum, count) of per-token losses (B, T); the caller divides once per optimizer step.

        completion   mean over a completion's tokens, then over completions: GRPO. A long one's token counts less
        token        mean over all tokens of the step: DAPO (arXiv:2503.14476, section 3.3)
        constant     sum over tokens / `constant`, then mean over completions: Dr. GRPO (arXiv:2503.20783)
        sum          the same with constant 1: REINFORCE

    A completion without a token has no mean over its tokens: "completion" is NaN then. Raises ValueError for a constant
    that is not positive.
    """
    if not constant > 0:
        raise ValueError(f"constant is {constant}; it must be positive, such as the longest completion's length")
    lengths = mask.sum(1)
    if average == "token":
        return masked_sum(losses, mask), lengths.sum()
    sums = fill(losses, mask).sum(1)
    count = torch.tensor(len(lengths), device=lengths.device)
    if average == "completion":
        return (sums / lengths).sum(), count
    if average in ("constant", "sum"):
        return (sums / (constant if average == "constant" else 1.0)).sum(), count
    raise ValueError(f"no average {average!r}; there are completion, token, constant, sum")
