"""Rules beside preferences: the loss of a classifier of violations, and the reward that counts them.

What Sparrow does (Glaese et al. 2022, arXiv:2209.14375): one classifier reads a rule with a dialogue and estimates the
probability that the rule is broken; its estimates and a preference model's score make up the reward of reinforcement
learning and of reranking. Our reading, not the paper's words: the weights of the two and the sum over rules below.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def violation_loss(logits: Tensor, violated: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy with logits, of judgements that each say how far a rule is broken.

        L = - sum_b [ y_b log sigmoid(z_b) + (1 - y_b) log(1 - sigmoid(z_b)) ]

    `logits` z: (B,) float32 or float64. `violated` y: (B,) in [0, 1], 1 broken. Returns the sum and the number of
    judgements; the caller divides once per optimizer step. Raises ValueError for a y outside [0, 1] or unequal shapes.
    """
    if logits.shape != violated.shape:
        raise ValueError(f"logits of shape {tuple(logits.shape)} against labels of {tuple(violated.shape)}")
    if not ((violated >= 0) & (violated <= 1)).all():
        raise ValueError(f"labels run from {violated.min().item()} to {violated.max().item()}; they lie in [0, 1]")
    loss = F.binary_cross_entropy_with_logits(logits, violated.to(logits.dtype), reduction="sum")
    return loss, torch.tensor(logits.numel(), device=logits.device)


def rule_reward(preference: Tensor, violations: Tensor, *, violation_coef: float) -> Tensor:
    """Preference score minus the expected number of broken rules, weighed.

        R_b = p_b - violation_coef sum_i P(rule i broken by completion b)

    `preference` p: (B,), standardised scores. `violations`: (B, N), probabilities of N rules. Returns (B,), the units
    of the preference score: a rule that is surely broken costs `violation_coef` standard deviations, whatever the
    number of rules. A sum and not a mean, since a mean would make each rule weigh less the more rules there are.
    Raises ValueError for violations outside [0, 1]: logits or scores would mean something else.
    """
    if violations.ndim != 2 or len(violations) != len(preference):
        raise ValueError(f"{tuple(preference.shape)} scores against {tuple(violations.shape)} violations; need (B, N)")
    if not ((violations >= 0) & (violations <= 1)).all():
        raise ValueError(
            "violations must be probabilities in [0, 1]; take the sigmoid of the classifier's logits first"
        )
    return preference - violation_coef * violations.sum(dim=1)
