"""The loss of pairs against a reference: pairs of a file (`dpo`), or just drawn (`online_dpo`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import Field
from torch import Tensor

from camelid.functional.dpo import dpo_loss, ipo_loss, mean_logprobs, offset_dpo_loss
from camelid.functional.kl import kl_k2
from camelid.functional.masks import fill
from camelid.models.batch import Batch
from camelid.models.outputs import Loss, Outputs
from camelid.runs import Settings


class PairLossSettings(Settings):
    """Which loss, and how strongly the reference holds."""

    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    """DPO's loss, or IPO's, which draws the log-ratio to 1 / (2 beta) instead of to infinity."""
    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of verdicts taken to be wrong (conservative DPO)."""
    log_ratio: Literal["sum", "mean"] = "sum"
    """Log-ratio of a completion: summed over its tokens, or their mean (length-normalised DPO; Tulu 3 took it with
    beta 5)."""


class PairLogprobs(NamedTuple):
    """Log-probabilities of both completions of B pairs, (B,) each: sums, or means a token."""

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor
    ref_rejected: Tensor


def pair_loss(batch: Batch, outputs: Outputs, *, s: PairLossSettings, offsets: Sequence[float]) -> Loss:
    """The summed loss of a micro-batch's pairs, chosen and rejected in turn; `offsets` of all pairs of the step."""
    reference = fill(batch.values["ref_logprobs"], batch.loss_mask)
    lengths = batch.row_sums(batch.loss_mask.float())
    pairs = pair_logprobs(batch.row_sums(outputs.logprobs), batch.row_sums(reference), lengths, s)
    total, count = summed_loss(pairs, pairs.chosen.new_tensor([offsets[row // 2] for row in batch.rows[0::2]]), s)
    logs = {name: value.sum().detach() for name, value in pair_logs(pairs, s).items()}
    logs["drift"] = batch.row_sums(kl_k2(fill(outputs.logprobs, batch.loss_mask), reference)).sum().detach()
    return Loss(total, count, logs)


def summed_loss(pairs: PairLogprobs, offsets: Tensor, s: PairLossSettings) -> tuple[Tensor, Tensor]:
    """(sum, number of pairs) of the loss that the settings name; `offsets` (B,) of 0 are DPO's own."""
    if s.loss == "ipo":
        return ipo_loss(*pairs, beta=s.beta)
    if s.label_smoothing:
        return dpo_loss(*pairs, beta=s.beta, label_smoothing=s.label_smoothing)
    return offset_dpo_loss(*pairs, offsets, beta=s.beta)


def pair_logs(pairs: PairLogprobs, s: PairLossSettings) -> dict[str, Tensor]:
    """What a reader wants to see of each pair, (B,): who wins by implicit reward, by how much, and who pays for it."""
    chosen_reward = s.beta * (pairs.chosen - pairs.ref_chosen)
    rejected_reward = s.beta * (pairs.rejected - pairs.ref_rejected)
    margin = chosen_reward - rejected_reward
    return {
        "accuracy": (1 + margin.sign()) / 2,  # a tie, as before the first step, is half a win
        "margin": margin,
        "chosen_reward": chosen_reward,
        "rejected_reward": rejected_reward,
        "chosen_logprob": pairs.chosen,
        "rejected_logprob": pairs.rejected,
    }


def pair_logprobs(logprobs: Tensor, reference: Tensor, lengths: Tensor, s: PairLossSettings) -> PairLogprobs:
    """Of summed log-probabilities (2B,), chosen and rejected in turn."""
    if s.log_ratio == "mean":
        logprobs, reference = mean_logprobs(logprobs, lengths), mean_logprobs(reference, lengths)
    return PairLogprobs(logprobs[0::2], logprobs[1::2], reference[0::2], reference[1::2])
