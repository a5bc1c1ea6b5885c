"""Rows of tokens, packed without padding into micro-batches under a token budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor

from camelid.functional.masks import fill
from camelid.functional.packing import pack, position_ids


@dataclass(frozen=True)
class Row:
    """One sequence: token ids, which of them train, and numbers for those tokens (advantages, old_logprobs ...)."""

    ids: Sequence[int]
    loss_mask: Sequence[bool]
    values: dict[str, Tensor] = field(default_factory=dict)
    """Each of shape (T,), aligned with `ids`; anything outside the loss mask is ignored."""

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.loss_mask):
            raise ValueError(f"{len(self.ids)} ids but a loss mask of {len(self.loss_mask)}")
        if self.loss_mask and self.loss_mask[0]:
            raise ValueError("the first token of a row cannot train: nothing stands before it to predict it")


@dataclass(frozen=True)
class Batch:
    """Rows laid end to end: everything is (1, T) with T the sum of their lengths."""

    ids: Tensor
    positions: Tensor
    loss_mask: Tensor
    segment_lengths: list[int]
    rows: list[int]
    """Index of each segment's row in the list that was packed."""
    values: dict[str, Tensor]

    def unpack(self, packed: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Row index and the row's part (T_row,) of a (1, T) tensor."""
        return zip(self.rows, packed[0].split(self.segment_lengths), strict=True)

    def row_sums(self, packed: Tensor) -> Tensor:
        """Sums over each row's trained tokens of a (1, T) tensor, (R,) in the order of `rows`; gradients flow."""
        return torch.stack([part.sum() for part in fill(packed, self.loss_mask)[0].split(self.segment_lengths)])


def make_batches(groups: Sequence[Sequence[Row]], micro_batch_tokens: int, device: torch.device) -> list[Batch]:
    """Pack groups of rows into micro-batches of at most `micro_batch_tokens` (a longer group gets one of its own).

    The rows of a group stay side by side: a loss over a pair needs both. `Batch.rows` counts rows over all groups.
    """
    first_row = [0, *accumulate(len(group) for group in groups)]
    bins = pack([sum(len(row.ids) for row in group) for group in groups], micro_batch_tokens)
    batches = []
    for part in bins:
        indices = [first_row[g] + i for g in part for i in range(len(groups[g]))]
        batches.append(_concatenate([row for g in part for row in groups[g]], indices, device))
    return batches


def _concatenate(rows: Sequence[Row], indices: list[int], device: torch.device) -> Batch:
    lengths = [len(row.ids) for row in rows]
    return Batch(
        ids=torch.tensor([[token for row in rows for token in row.ids]], device=device),
        positions=torch.tensor([position_ids(lengths)], device=device),
        loss_mask=torch.tensor([[bit for row in rows for bit in row.loss_mask]], device=device),
        segment_lengths=lengths,
        rows=indices,
        values={name: torch.cat([row.values[name] for row in rows])[None].to(device) for name in rows[0].values},
    )
