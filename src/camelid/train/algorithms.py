"""What policy-gradient algorithms are made of: a table of their choices, advantages by name, the loss."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, cast

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from camelid.functional.advantages import (
    RunningMean,
    batch_centred,
    group_centred,
    group_standardized,
    leave_one_out,
)
from camelid.functional.policy_gradient import (
    Average,
    KLEstimator,
    Ratio,
    averaged,
    clipped_losses,
    kl_losses,
    outside,
    ratios,
)
from camelid.models.batch import Batch
from camelid.models.outputs import Loss, Outputs

Algorithm = Literal["rloo", "grpo", "dr_grpo", "dapo", "reinforce"]
Advantage = Literal["leave_one_out", "group_standardized", "group_centred", "batch_centred", "running_mean"]
KLTerm = Literal["reward", "loss_k2", "loss_k3", "loss_unbiased"]

OF_GROUPS = {
    "leave_one_out": leave_one_out,
    "group_standardized": group_standardized,
    "group_centred": group_centred,
}
"""Advantages that want several completions a prompt."""


class Choices(NamedTuple):
    """What an algorithm is made of."""

    advantage: Advantage
    ratio: Ratio
    average: Average
    clip_low: float
    clip_high: float
    kl: KLTerm
    kl_coef: float
    redraws: int


# fmt: off
ALGORITHMS: dict[Algorithm, Choices] = {
    #                    advantage             ratio         average       clips      KL         weight  redraws
    "rloo":      Choices("leave_one_out",      "completion", "completion", 0.2, 0.2,  "reward",  0.01,   0),
    "grpo":      Choices("group_standardized", "token",      "completion", 0.2, 0.2,  "loss_k3", 0.04,   0),
    "dr_grpo":   Choices("group_centred",      "token",      "constant",   0.2, 0.2,  "loss_k3", 0.0,    0),
    "dapo":      Choices("group_standardized", "token",      "token",      0.2, 0.28, "loss_k3", 0.0,    4),
    "reinforce": Choices("running_mean",       "token",      "sum",        0.0, 0.0,  "reward",  0.01,   0),
}
# fmt: on
"""From the papers, but for kl_coef of RLOO and REINFORCE, which is PPO's here; RLOO's ratio and clip, which are TRL's
(the paper takes one step, where neither acts); and redraws, for which DAPO has no limit. Whole completions leave RLOO's
clip after a step or two: give it one step an iteration, or ratio=token and average=sum, whose gradient begins alike."""


def advantages_of(scores: Tensor, advantage: Advantage, baseline: RunningMean) -> Tensor:
    """(P, K) from scores (P, K); `running_mean` takes the scores into `baseline`."""
    if advantage == "running_mean":
        return baseline.advantages(scores)
    return OF_GROUPS.get(advantage, batch_centred)(scores)


def policy_loss(batch: Batch, outputs: Outputs, *, c: Choices, kl_coef: float, constant: float) -> Loss:
    """The summed loss of a micro-batch by the choices; `constant`: the length that average=constant divides by."""

    def padded(packed: Tensor) -> Tensor:  # (1, T) -> (R, T)
        return pad_sequence([part for _, part in batch.unpack(packed)], batch_first=True)

    mask, logprobs = padded(batch.loss_mask), padded(outputs.logprobs)
    old, ref, advantages = (padded(batch.values[name]) for name in ("old_logprobs", "ref_logprobs", "advantages"))
    limits = {"clip_low": c.clip_low or math.inf, "clip_high": c.clip_high or math.inf}
    ratio = ratios(logprobs, old, mask, ratio=c.ratio)
    losses = clipped_losses(ratio, advantages, mask, **limits)
    total, count = averaged(losses, mask, average=c.average, constant=constant)
    logs = {"policy_loss": total}
    if c.kl != "reward" and kl_coef:
        held = kl_losses(logprobs, old, ref, mask, estimator=cast(KLEstimator, c.kl.removeprefix("loss_")))
        kl_total, _ = averaged(held, mask, average=c.average, constant=constant)
        total = total + kl_coef * kl_total
        logs["kl_loss"] = kl_total
    shown: Average = "token" if c.average == "token" else "completion"
    logs["clip_fraction"] = averaged(outside(ratio, **limits), mask, average=shown)[0]
    return Loss(total, count, logs)
