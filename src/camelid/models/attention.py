"""Attention over packed rows and over caches, for any transformers model that has the attention interface.

Sequences are laid end to end in one row, without padding, and each attends to itself only. For the attention alone,
segments of like length are stood side by side as the rows of a tile: one product serves many segments. On a CPU a tile
is attended by blocks (`block_attention.py`, with what that gains). A GPU has a kernel for segments as they lie
(`varlen_attention.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from camelid.models import varlen_attention as varlen
from camelid.models.block_attention import block_attention
from camelid.models.cohort import Cohort, decode
from camelid.models.compute import send
from camelid.models.tree_attention import Tree, tree_attention

NAME = "camelid"
ALIKE = 0.75
"""Segments share a tile if the shortest has at least this share of the longest's length."""


class Layout:
    """How a packed row lies, in one thing that compiled layers hand on without a look: its lists always differ."""

    def __init__(self, segment_lengths: list[int] | None, tree: Tree | None):
        self.segment_lengths = segment_lengths
        self.tree = tree


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    segment_lengths: list[int] | None = None,
    cohorts: Sequence[Cohort] = (),
    tree: Tree | None = None,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    **unsupported: Any,
) -> tuple[Tensor, None]:
    """The function that transformers calls in every layer.

    `query`: (1, heads, T, D); `key`, `value`: (1, KV heads, T, D). With `segment_lengths` each segment of the row
    attends causally to itself. With `tree` rows share their beginnings. With `cohorts` the row is the newest tokens of
    rows whose other keys lie in caches. `layout`: one of the first two, from a compiled layer.
    Returns (1, T, heads, D).
    """
    if layout is not None:
        segment_lengths, tree = layout.segment_lengths, layout.tree
    for name in ("softcap", "s_aux"):
        if unsupported.get(name) is not None:
            raise ValueError(f"this model's attention uses {name}, which camelid's attention does not have yet")
    if dropout:
        raise ValueError(f"dropout is {dropout}; camelid trains without, so that rollouts and training see one network")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if cohorts:
        return decode(cohorts, module.layer_idx, query, key, value, scale, sliding_window), None
    if tree is not None:
        return tree_attention(module.layer_idx, query, key, value, tree, scale, sliding_window), None
    if segment_lengths is None:
        raise ValueError("camelid's attention needs segment_lengths, tree or cohorts; call the model through camelid")
    if varlen.applies(query, value, segment_lengths, sliding_window):
        return varlen.varlen_attention(query, key, value, segment_lengths, scale, sliding_window), None
    tiles = _tiles(tuple(segment_lengths), query.device)
    # Under autocast queries and keys come in float32 and values in the compute format.
    parts = [_Spread.apply(x[0].transpose(0, 1).to(value.dtype), tiles) for x in (query, key, value)]
    attended = [_causal(q, k, v, scale, sliding_window) for q, k, v in zip(*parts, strict=True)]
    return _Collect.apply(tiles, *attended)[None], None


class Tile(NamedTuple):
    """Segments of like length as the rows of an (S, L) rectangle, padded on the right."""

    shape: tuple[int, int]
    source: Tensor
    """(S L,) where each token of the rectangle comes from; padding comes from anywhere."""
    padding: Tensor
    """(n,) the places of the padding."""
    start: int
    """Where the longest segment begins in the row."""


class Tiles(NamedTuple):
    """The rectangles of a packed row."""

    tiles: list[Tile]
    back: Tensor
    """(T,) where each token of the row lies in the rectangles laid end to end."""


@lru_cache(maxsize=8)
def _tiles(lengths: tuple[int, ...], device: torch.device) -> Tiles:
    """Kept between calls, since all layers ask for the same."""
    starts = torch.tensor([0, *lengths]).cumsum(0).tolist()
    groups: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if groups and lengths[i] >= ALIKE * lengths[groups[-1][0]]:
            groups[-1].append(i)
        else:
            groups.append([i])
    tiles, back, offset = [], torch.zeros(sum(lengths), dtype=torch.long), 0
    for group in groups:
        width = lengths[group[0]]
        column = torch.arange(width)
        own = torch.tensor([lengths[i] for i in group])
        source = (torch.tensor([starts[i] for i in group])[:, None] + column).flatten()
        real = (column < own[:, None]).flatten()
        back[source[real]] = offset + real.nonzero()[:, 0]
        offset += len(source)
        source[~real] = 0
        padding = send((~real).nonzero()[:, 0], device)
        tiles.append(Tile((len(group), width), send(source, device), padding, starts[group[0]]))
    return Tiles(tiles, send(back, device))


def _spread(x: Tensor, tiles: Tiles) -> list[Tensor]:
    """(T, heads, D) -> (S, L, heads, D) of each tile; a segment alone in its tile lies there as it is needed."""
    return [
        x.narrow(0, tile.start, tile.shape[1])[None]
        if tile.shape[0] == 1
        else x.index_select(0, tile.source).view(*tile.shape, *x.shape[1:])
        for tile in tiles.tiles
    ]


def _collect(parts: Sequence[Tensor], tiles: Tiles) -> Tensor:
    """The inverse of `_spread`: (T, heads, D)."""
    if len(parts) == len(parts[0]) == 1:
        return parts[0][0]
    return torch.cat([part.flatten(0, 1) for part in parts]).index_select(0, tiles.back)


class _Spread(torch.autograd.Function):
    """Each the other's gradient: every token is in one place, so nothing has to be added up."""

    @staticmethod
    def forward(ctx, x, tiles):
        ctx.tiles = tiles
        return tuple(_spread(x, tiles))

    @staticmethod
    def backward(ctx, *gradients):
        return _collect(gradients, ctx.tiles), None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tiles, *parts):
        ctx.tiles = tiles
        return _collect(parts, tiles)

    @staticmethod
    def backward(ctx, gradient):
        parts = _spread(gradient, ctx.tiles)
        for part, tile in zip(parts, ctx.tiles.tiles, strict=True):
            if len(tile.padding):
                part.flatten(0, 1).index_fill_(0, tile.padding, 0)
        return None, *parts


def _causal(query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
    """Causal attention of a tile: (S, L, heads, D) and twice (S, L, groups, D) -> (S, L, heads, D).

    The padding stands behind every token that is asked for, so causality alone keeps it from being seen.
    """
    if query.device.type == "cpu":
        return block_attention(query, key, value, scale, window)
    heads, length, groups = query.shape[2], query.shape[1], key.shape[2]
    visible = _visible(length, window, query.device)
    windowed = window is not None and length > window
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    attended = scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=visible if windowed else None,
        is_causal=not windowed,
        scale=scale,
        enable_gqa=heads != groups,
    )
    return attended.transpose(1, 2)


def _visible(length: int, window: int | None, device: torch.device) -> Tensor:
    """(L, L): query t sees the keys up to t, and of those the last `window`."""
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return (distance >= 0) & (distance < (window or length))


def register(function: Callable[..., tuple[Tensor, None]] = attention) -> None:
    """Make the attention known to transformers under `NAME`."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, function)
