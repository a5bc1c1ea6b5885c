"""What the output head and the value head say of a packed batch, where it trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from camelid.functional.logprobs import chunked_entropies, chunked_logprobs
from camelid.models.batch import Batch
from camelid.models.compute import Compute
from camelid.models.master_weights import gradient_of, in_format


@dataclass(frozen=True)
class Outputs:
    """What one forward pass says about the trained tokens; (1, T) float32 each, zero outside the loss mask."""

    logprobs: Tensor
    values: Tensor | None
    """Value head's estimate of the return from before each token; None without a value head."""
    entropies: Tensor | None
    """Entropy of each token's distribution, in nats; None in training, where no loss of ours needs it."""


@dataclass(frozen=True)
class Loss:
    """A summed loss, the number of things summed, and sums to be logged as means over the same count."""

    sum: Tensor
    count: Tensor
    logs: dict[str, Tensor]


def head_outputs(
    batch: Batch, hidden: Tensor, head: Any, value_head: nn.Linear | None, compute: Compute, temperature: float
) -> Outputs:
    """Log-probabilities of the trained tokens, and values, from the final hidden states (1, T, H)."""
    before = _states_before(batch, hidden, compute)
    logprobs = chunked_logprobs(
        before,
        in_format(head.weight, compute.dtype),
        batch.ids[0, batch.trained],
        bias=head.bias,
        temperature=temperature,
        weight_gradient=gradient_of(head.weight) if head.weight.requires_grad else None,
        chunk_tokens=compute.head_rows,
    )
    values = None if value_head is None else token_values(batch, hidden, value_head, compute)
    return Outputs(_scatter(logprobs, batch.trained, batch), values, None)


def token_values(batch: Batch, hidden: Tensor, value_head: nn.Linear, compute: Compute) -> Tensor:
    """(1, T), what a value head says of the state before each trained token; zero elsewhere."""
    before = _states_before(batch, hidden, compute)
    return _scatter(value_head(before.float())[:, 0], batch.trained, batch)


def head_entropies(batch: Batch, hidden: Tensor, head: Any, compute: Compute, temperature: float) -> Tensor:
    """Entropy of the distribution of each trained token, (1, T), in nats; no gradient."""
    before = _states_before(batch, hidden, compute)
    weight = in_format(head.weight, compute.dtype)
    return _scatter(chunked_entropies(before, weight, bias=head.bias, temperature=temperature), batch.trained, batch)


def _states_before(batch: Batch, hidden: Tensor, compute: Compute) -> Tensor:
    """(N, H), the states that predict the trained tokens.

    With full weights they come in float32 out of the last norm, and the head, the largest product of all, would be
    multiplied in float32.
    """
    return hidden[0, batch.trained - 1].to(compute.dtype)


def _scatter(values: Tensor, positions: Tensor, batch: Batch) -> Tensor:
    full = values.new_zeros(batch.ids.shape[1])
    return full.index_put((positions,), values)[None]
