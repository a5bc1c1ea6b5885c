"""Rows of tokens, packed without padding into micro-batches under a token budget, what they share computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camelid.functional.masks import fill
from camelid.functional.packing import pack
from camelid.models.compute import send
from camelid.models.prefix_tree import common_length, share
from camelid.models.tree_attention import Tree, make_tree

SHARE_FROM = 16
"""Shortest beginning, in tokens, that is worth a branch."""
KIN = 0.25
"""Share of a group's first row that another must have in common with it to be packed beside it."""
WORTH = 0.95
"""Largest share of the tokens left at which branches are taken; above, plain segments are as fast."""


@dataclass(frozen=True)
class Row:
    """One sequence: token ids, which of them train, and numbers for those tokens (advantages, old_logprobs ...)."""

    ids: Sequence[int] | NDArray[np.int32]
    loss_mask: Sequence[bool] | NDArray[np.bool_]
    values: dict[str, Tensor] = field(default_factory=dict)
    """Each of shape (T,), aligned with `ids`; anything outside the loss mask is ignored."""

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.loss_mask):
            raise ValueError(f"{len(self.ids)} ids but a loss mask of {len(self.loss_mask)}")
        if len(self.loss_mask) and self.loss_mask[0]:
            raise ValueError("the first token of a row cannot train: nothing stands before it to predict it")


class Branches(NamedTuple):
    """The rows of a batch as the network reads them: what several begin with is there once."""

    ids: Tensor
    """(1, t), t tokens instead of T."""
    positions: Tensor
    tree: Tree
    places: Tensor
    """(T,) where each token of the rows lies among the t."""


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
    trained: Tensor
    """(N,) places of the tokens that train, found where the rows are made: a GPU would have to be waited for."""
    branches: Branches | None = None
    """For the network alone, where sharing saves enough; losses see whole rows always."""

    def unpack(self, packed: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Row index and the row's part (T_row,) of a (1, T) tensor."""
        return zip(self.rows, packed[0].split(self.segment_lengths), strict=True)

    def row_sums(self, packed: Tensor) -> Tensor:
        """Sums over each row's trained tokens of a (1, T) tensor, (R,) in the order of `rows`; gradients flow."""
        return torch.stack([part.sum() for part in fill(packed, self.loss_mask)[0].split(self.segment_lengths)])


def make_batches(
    groups: Sequence[Sequence[Row]], micro_batch_tokens: int, device: torch.device, *, share_beginnings: bool = True
) -> list[Batch]:
    """Pack groups of rows into micro-batches of at most `micro_batch_tokens` (a longer group gets one of its own).

    The rows of a group stay side by side: a loss over a pair needs both. `Batch.rows` counts rows over all groups.
    Tokens that rows share at their beginning (a prompt with several completions) count once and are computed once.
    """
    first_row = [0, *accumulate(len(group) for group in groups)]
    families = _families(groups, micro_batch_tokens) if share_beginnings else _alone(groups)
    bins = pack([tokens for _, tokens in families], micro_batch_tokens)
    batches = []
    for part in bins:
        together = [g for family in part for g in families[family][0]]
        indices = [first_row[g] + i for g in together for i in range(len(groups[g]))]
        rows = [row for g in together for row in groups[g]]
        batches.append(_concatenate(rows, indices, device, _branches(rows, device) if share_beginnings else None))
    return batches


def _families(groups: Sequence[Sequence[Row]], budget: int) -> list[tuple[list[int], int]]:
    """Groups that begin alike, to be packed together while they fit, with their number of tokens."""
    families: list[tuple[list[int], int]] = []
    firsts = [np.asarray(group[0].ids).tolist() for group in groups]
    last: list[int] = []
    for g in sorted(range(len(groups)), key=lambda g: firsts[g]):
        tokens = len(share([row.ids for row in groups[g]], SHARE_FROM).ids)
        first = firsts[g]
        common = common_length(last, first)
        if common >= SHARE_FROM and common >= KIN * len(first) and families[-1][1] + tokens - common <= budget:
            families[-1] = ([*families[-1][0], g], families[-1][1] + tokens - common)
        else:
            families.append(([g], tokens))
        last = first
    return families


def _alone(groups: Sequence[Sequence[Row]]) -> list[tuple[list[int], int]]:
    return [([g], sum(len(row.ids) for row in group)) for g, group in enumerate(groups)]


def _concatenate(rows: Sequence[Row], indices: list[int], device: torch.device, branches: Branches | None) -> Batch:
    lengths = [len(row.ids) for row in rows]
    values = {name: torch.cat([row.values[name] for row in rows])[None] for name in rows[0].values}
    mask = _joined([row.loss_mask for row in rows], np.bool_)
    return Batch(
        ids=send(_joined([row.ids for row in rows], np.int64), device),
        positions=send(_joined([range(length) for length in lengths], np.int64), device),
        loss_mask=send(mask, device),
        segment_lengths=lengths,
        rows=indices,
        values={name: send(value, device) for name, value in values.items()},
        trained=send(mask[0].nonzero()[:, 0], device),
        branches=branches,
    )


def _branches(rows: Sequence[Row], device: torch.device) -> Branches | None:
    shared = share([row.ids for row in rows], SHARE_FROM)
    if len(shared.ids) > WORTH * sum(len(row.ids) for row in rows):
        return None
    return Branches(
        ids=send(torch.tensor([shared.ids]), device),
        positions=send(torch.tensor([shared.positions]), device),
        tree=make_tree(shared.pieces, device),
        places=send(torch.tensor([place for own in shared.places for place in own]), device),
    )


def _joined(parts: Sequence[Any], dtype: type[np.generic]) -> Tensor:
    """(1, T) the parts end to end. No view of another tensor, for compiled layers would tell the two apart."""
    return torch.from_numpy(np.concatenate([np.asarray(part, dtype=dtype) for part in parts]).reshape(1, -1))
