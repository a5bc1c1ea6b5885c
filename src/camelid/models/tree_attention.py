"""Attention inside a pack of rows with common beginnings: each token sees its own path, and nothing of other branches.

The new tokens of a row are queries; the keys of its whole path are gathered beside them, in the order of their
positions, so that "no later than myself" is all that the mask has to say, padding included. Rows of like length are
the rows of a tile, as in `attention.py`. What is kept from before stands in front of every path and is multiplied once
for all rows. A prompt's keys collect the gradients of all its branches. The softmax over a row's own path has its
backward pass by hand (`block_attention.py` has the formulas): the weights alone are kept, in the inputs' format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from camelid.models.block_attention import padded
from camelid.models.compute import send
from camelid.models.prefix_tree import Piece

ALIKE = 0.6
"""Pieces share a tile if the shortest has at least this share of the longest's new tokens, or 2 fewer."""
SCORES, SCORES_GPU = 1 << 20, 1 << 27
"""Attention scores that are alive at once, 4 MB in float32, which caches hold; one row of a tile may need more.
Elsewhere half a gigabyte, so that a tile mostly is one product: chosen, not measured."""


class Tile(NamedTuple):
    """Pieces of like length as S rows: L new tokens, K tokens of path."""

    queries: Tensor
    """(S L,) places in the pack; padding comes from anywhere."""
    keys: Tensor
    """(S K,) places in the pack, by position; padding behind the end comes from anywhere."""
    hidden: Tensor
    """(S, 1, L, K): -inf where a key stands behind the query, else 0."""
    position: Tensor
    """(S, L) of the queries among the keys."""


@dataclass
class Tree:
    """How the tokens of a pack see each other."""

    tiles: list[Tile]
    back: Tensor
    """(T,) where each token of the pack lies in the tiles laid end to end."""
    longest: int
    """Tokens of the longest path, what is kept included."""
    extents: list[tuple[int, int]]
    """Of each piece, its tokens and how many its last one sees."""
    kept: Sequence[tuple[Tensor, Tensor]] = ()
    """Of each layer keys and values (groups, P, D) that every token sees, those of the beginning."""
    left: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By layer, the keys and values (groups, T, D) of this pack, for whom they shall be kept."""
    leaves: bool = False
    """Whether to fill `left`."""


def make_tree(pieces: Sequence[Piece], device: torch.device, kept: Sequence[tuple[Tensor, Tensor]] = ()) -> Tree:
    """The tiles of a pack."""
    groups: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: (-p.width, -len(p.path))):
        widest = groups[-1][0].width if groups else 0
        if groups and (piece.width >= ALIKE * widest or piece.width >= widest - 2):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    tiles, offset = [], 0
    back = torch.empty(sum(piece.width for piece in pieces), dtype=torch.long)
    for group in groups:
        width, length = group[0].width, padded(max(len(piece.path) for piece in group))
        column = torch.arange(width)
        first, count, end = (
            torch.tensor(x)[:, None] for x in zip(*((p[0], p[1], len(p[2])) for p in group), strict=True)
        )
        real = column < count  # (S, L)
        back[(first + column)[real]] = offset + real.flatten().nonzero()[:, 0]
        offset += real.numel()
        keys = torch.tensor([piece.path + [0] * (length - len(piece.path)) for piece in group])
        position = torch.where(real, end - count + column, 0)  # padding sees the first key: softmax needs one
        later = torch.arange(length) > position[..., None]  # (S, L, K)
        hidden = torch.zeros(later.shape).masked_fill_(later, float("-inf"))[:, None]
        queries = torch.where(real, first + column, 0)
        tiles.append(Tile(*(send(x, device) for x in (queries.flatten(), keys.flatten(), hidden, position))))
    longest = max(len(piece.path) for piece in pieces) + (kept[0][0].shape[1] if kept else 0)
    return Tree(tiles, send(back, device), longest, [(piece.width, len(piece.path)) for piece in pieces], kept)


def tree_attention(
    layer: int, query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float, window: int | None = None
) -> Tensor:
    """`query`: (1, heads, T, D); `key`, `value`: (1, groups, T, D). Returns (1, T, heads, D).

    `window`: how many keys back a query sees, itself included. Raises ValueError where that is fewer than a row has and
    beginnings are kept from before.
    """
    tiles = tree.tiles
    if window is not None and tree.longest > window:
        if tree.kept:
            raise ValueError(f"rows of {tree.longest} tokens share prompts, but the model sees {window} back")
        tiles = [_windowed(tile, window) for tile in tiles]
    q, k, v = (x[0].transpose(0, 1).to(value.dtype) for x in (query, key, value))  # (T, heads, D)
    if tree.leaves:
        tree.left[layer] = (k.transpose(0, 1).contiguous(), v.transpose(0, 1).contiguous())
    kept = tree.kept[layer] if tree.kept else None
    q = q * scale
    parts = [_tile(q, k, v, tile, kept) for tile in tiles]
    return torch.cat(parts).index_select(0, tree.back)[None]


def _windowed(tile: Tile, window: int) -> Tile:
    key = torch.arange(tile.hidden.shape[-1], device=tile.hidden.device)
    far = key <= tile.position[:, None, :, None] - window
    return tile._replace(hidden=tile.hidden.masked_fill(far, float("-inf")))


def _tile(q: Tensor, k: Tensor, v: Tensor, tile: Tile, kept: tuple[Tensor, Tensor] | None) -> Tensor:
    """(S L, heads, D) of one tile."""
    rows, _, width, length = tile.hidden.shape
    heads, groups, size = q.shape[1], k.shape[1], k.shape[2]
    # The heads of a group share their keys: (groups, S, heads / groups * L, D).
    queries = q.index_select(0, tile.queries).view(rows, width, groups, -1, size).permute(2, 0, 3, 1, 4)
    queries = queries.reshape(groups, rows, -1, size)
    keys, values = (
        x.index_select(0, tile.keys).view(rows, length, groups, size).permute(2, 0, 1, 3).contiguous() for x in (k, v)
    )
    a_row = heads * width * (length + (kept[0].shape[1] if kept else 0))
    step = max((SCORES if q.device.type == "cpu" else SCORES_GPU) // a_row, 1)
    parts = [
        _attend(
            queries[:, i : i + step], keys[:, i : i + step], values[:, i : i + step], tile.hidden[i : i + step], kept
        )
        for i in range(0, rows, step)
    ]
    attended = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    attended = attended.view(groups, rows, heads // groups, width, size).permute(1, 3, 0, 2, 4)
    return attended.reshape(rows * width, heads, size)


def _attend(
    queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor, kept: tuple[Tensor, Tensor] | None
) -> Tensor:
    """Softmax over the kept keys and the own path together: (groups, S, M, D), M queries a row."""
    if kept is None:
        return _Masked.apply(queries, keys, values, hidden)
    groups, rows, count, size = queries.shape
    width, length = hidden.shape[2:]
    own = queries @ keys.transpose(2, 3)
    own = (own.view(groups, rows, -1, width, length) + hidden).view(groups, rows, count, length)
    flat = queries.reshape(groups, rows * count, size)
    before = (flat @ kept[0].transpose(1, 2)).view(groups, rows, count, -1)
    largest = torch.maximum(own.amax(-1, keepdim=True), before.amax(-1, keepdim=True)).detach()
    own, before = (own - largest).exp(), (before - largest).exp()
    total = own.sum(-1, keepdim=True) + before.sum(-1, keepdim=True)
    own, before = own.to(values.dtype), before.to(values.dtype)  # the mask is float32, and so are the weights till here
    seen = (before.view(groups, rows * count, -1) @ kept[1]).view(groups, rows, count, size)
    return ((own @ values + seen) / total).to(values.dtype)


class _Masked(torch.autograd.Function):
    """softmax(Q K' + mask) V with heads as rows: twice (groups, S, K, D), (groups, S, M, D), (S, 1, L, K)."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor) -> Tensor:
        weights = queries @ keys.transpose(2, 3)
        # In the scores' format, or the whole of them would be turned to float32 and back: six times as long.
        weights.unflatten(2, (-1, hidden.shape[2])).add_(hidden.to(weights.dtype))
        torch.softmax(weights, -1, out=weights)
        ctx.save_for_backward(queries, keys, values, weights)
        return weights @ values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, weights = ctx.saved_tensors
        d_scores = gradient @ values.transpose(2, 3)
        torch._softmax_backward_data(d_scores, weights, -1, weights.dtype, grad_input=d_scores)
        turned = d_scores.transpose(2, 3)
        return d_scores @ keys, turned @ queries, weights.transpose(2, 3) @ gradient, None
