"""What PPO learns from an iteration's rollouts: passes of mini-batch steps with the clipped losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from camelid.functional.ppo import clip_fraction, ppo_policy_loss, ppo_value_loss
from camelid.models.averaging import MovingAverage
from camelid.models.batch import Batch, Row
from camelid.models.outputs import Loss, Outputs
from camelid.models.policy import Policy
from camelid.models.value_model import ValueModel
from camelid.runs import derived_seed
from camelid.train.common import batches
from camelid.train.pretraining_mix import Mix
from camelid.train.rollout import Rollout, with_columns

if TYPE_CHECKING:
    from camelid.train.ppo import PpoSettings


def with_targets(rollout: Rollout, advantages: Tensor, returns: Tensor) -> list[Row]:
    """The rows with what the losses need, aligned with their ids."""
    columns = {
        "old_logprobs": rollout.logprobs,
        "old_values": rollout.values,
        "advantages": advantages,
        "returns": returns,
    }
    return with_columns(rollout, columns)


def update(
    policy: Policy,
    rows: Sequence[Row],
    s: PpoSettings,
    iteration: int,
    mix: Mix | None = None,
    average: MovingAverage | None = None,
    value_model: ValueModel | None = None,
) -> dict[str, float]:
    """`ppo_epochs` passes of mini-batch steps over the rollouts. Returns the losses' means over all steps."""

    def loss(batch: Batch, outputs: Outputs) -> Loss:
        mask, given = batch.loss_mask, batch.values
        policy_loss, count = ppo_policy_loss(
            outputs.logprobs, given["old_logprobs"], given["advantages"], mask, clip=s.clip
        )
        clipped, _ = clip_fraction(outputs.logprobs, given["old_logprobs"], mask, clip=s.clip)
        logs = {"policy_loss": policy_loss, "clip_fraction": clipped}
        if outputs.values is None:
            return Loss(policy_loss, count, logs)
        value = loss_of_values(batch, outputs.values)
        return Loss(policy_loss + s.value_coef * value.sum, count, logs | value.logs)

    def loss_of_values(batch: Batch, values: Tensor) -> Loss:
        given = batch.values
        loss, count = ppo_value_loss(values, given["old_values"], given["returns"], batch.loss_mask, clip=s.value_clip)
        return Loss(loss, count, {"value_loss": loss})

    steps = batches(len(rows), s.mini_batch_size, s.ppo_epochs, derived_seed(s.seed, "mini-batches", iteration))
    sums: dict[str, float] = {}
    for number, indices in enumerate(steps):
        metrics = policy.forward_backward([rows[i] for i in indices], loss, temperature=s.sampling.temperature)
        count = metrics.pop("count")
        if mix is not None:
            metrics |= mix.add_gradient(policy, iteration * len(steps) + number, len(indices), count)
        rate = s.learning_rate_at(iteration, s.num_iterations)
        metrics["gradient_norm"] = policy.step(rate, count, value_learning_rate=s.value_learning_rate)
        if value_model is not None:
            metrics |= value_model.forward_backward([rows[i] for i in indices], loss_of_values)
            value_model.step(s.value_learning_rate, count)
        if average is not None:
            average.update()
        for name, value in metrics.items():
            sums[name] = sums.get(name, 0.0) + value
    return {name: value / len(steps) for name, value in sums.items()}
