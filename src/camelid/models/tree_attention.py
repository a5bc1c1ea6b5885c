"""Attention inside a pack of rows with common beginnings: each token sees its own path, and nothing of other branches.

The new tokens of a row are queries; the keys of its whole path are gathered beside them, in the order of their
positions, so that "no later than myself" is all that the mask has to say, padding included. Rows of like length are
the rows of a tile, as in `attention.py`. What is kept from before stands in front of every path and is multiplied once
for all rows. A prompt's keys collect the gradients of all its branches, in float32.

Tokens and heads are one index, rows of D numbers each, so that into a tile and back everything moves once: T tokens of
9 heads are (9 T, D). The backward pass is by hand (`block_attention.py` has the formulas): the weights alone are kept,
in the inputs' format.
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
    """(S, L) places in the pack; padding comes from anywhere."""
    real: Tensor
    """(S, L) what is no padding."""
    keys: Tensor
    """(S, K) places in the pack, by position; padding behind the end is the first again: what another row has there may
    not be finite, and a weight of 0 does not undo that."""
    position: Tensor
    """(S, L) of the queries among the keys."""


class Heads(NamedTuple):
    """How many heads, how many groups of them share keys, how many keys back a query sees, and their format."""

    heads: int
    groups: int
    window: int | None
    dtype: torch.dtype


class Part(NamedTuple):
    """Rows of a tile and their heads: (groups, S, M, D) queries, M = heads / groups * L, and (groups, S, K, D) keys."""

    shape: tuple[int, int, int, int]
    """(groups, S, M, K)"""
    queries: Tensor
    """(groups S M,) which rows of D numbers."""
    padding: Tensor
    """Which of `queries` are padding."""
    keys: Tensor
    """(groups S K,)"""
    hidden: Tensor
    """(S, 1, L, K): -inf where a query does not see a key, else 0."""


class Parts(NamedTuple):
    """The tiles of a pack for some number of heads."""

    parts: list[Part]
    back: Tensor
    """(T, heads) where each row lies among those of the parts laid end to end."""


@dataclass
class Tree:
    """How the tokens of a pack see each other."""

    tiles: list[Tile]
    tokens: int
    device: torch.device
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
    known: dict[Heads, Parts] = field(default_factory=dict)
    """All layers ask for the same."""


def make_tree(pieces: Sequence[Piece], device: torch.device, kept: Sequence[tuple[Tensor, Tensor]] = ()) -> Tree:
    """The tiles of a pack."""
    groups: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: (-p.width, -len(p.path))):
        widest = groups[-1][0].width if groups else 0
        if groups and (piece.width >= ALIKE * widest or piece.width >= widest - 2):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    tokens = sum(piece.width for piece in pieces)
    longest = max(len(piece.path) for piece in pieces) + (kept[0][0].shape[1] if kept else 0)
    extents = [(piece.width, len(piece.path)) for piece in pieces]
    return Tree([_tile(group) for group in groups], tokens, device, longest, extents, kept)


def _tile(group: list[Piece]) -> Tile:
    """Pieces, of which the first is the widest, as rows."""
    width, length = group[0].width, padded(max(len(piece.path) for piece in group))
    column = torch.arange(width)
    first, count, end = (torch.tensor(x)[:, None] for x in zip(*((p[0], p[1], len(p[2])) for p in group), strict=True))
    real = column < count
    keys = torch.tensor([piece.path + piece.path[:1] * (length - len(piece.path)) for piece in group])
    position = torch.where(real, end - count + column, 0)  # padding sees the first key: softmax needs one
    return Tile(torch.where(real, first + column, 0), real, keys, position)


def tree_attention(
    layer: int, query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float, window: int | None = None
) -> Tensor:
    """`query`: (1, heads, T, D); `key`, `value`: (1, groups, T, D). Returns (1, T, heads, D).

    `window`: how many keys back a query sees, itself included. Raises ValueError where that is fewer than a row has and
    beginnings are kept from before.
    """
    if window is not None and tree.longest <= window:
        window = None
    if window is not None and tree.kept:
        raise ValueError(f"rows of {tree.longest} tokens share prompts, but the model sees {window} back")
    if tree.leaves:
        tree.left[layer] = (key[0].to(value.dtype).contiguous(), value[0].contiguous())
    heads = Heads(query.shape[1], key.shape[1], window, value.dtype)
    if heads not in tree.known:
        tree.known[heads] = _parts(tree, heads)
    q, k, v = (x[0].transpose(0, 1).to(value.dtype).flatten(0, 1) for x in (query, key, value))  # (T heads, D)
    if tree.kept:
        attended = _with_kept(q, k, v, tree.known[heads], scale, tree.kept[layer])
    else:
        attended = _TreeAttention.apply(q, k, v, tree.known[heads], scale)
    return attended[None]


def _parts(tree: Tree, heads: Heads) -> Parts:
    """Tiles so divided that their scores stay in bounds."""
    made, offset = [], 0
    back = torch.empty(tree.tokens * heads.heads, dtype=torch.long)
    before = tree.kept[0][0].shape[1] if tree.kept else 0
    most = SCORES if tree.device.type == "cpu" else SCORES_GPU
    for tile in tree.tiles:
        step = max(most // (heads.heads * tile.real.shape[1] * (tile.keys.shape[1] + before)), 1)
        for rows in zip(*(x.split(step) for x in tile), strict=True):
            part, real = _part(Tile(*rows), heads)
            back[part.queries[real]] = offset + real.nonzero()[:, 0]
            offset += len(real)
            tensors = (part.queries, part.padding, part.keys, part.hidden)
            made.append(Part(part.shape, *(send(x, tree.device) for x in tensors)))
    return Parts(made, send(back.view(-1, heads.heads), tree.device))


def _part(tile: Tile, heads: Heads) -> tuple[Part, Tensor]:
    """All heads of a tile, and which of its queries are real."""
    rows, width = tile.real.shape
    per_group = heads.heads // heads.groups
    head = torch.arange(heads.heads).view(heads.groups, 1, per_group, 1)
    group = torch.arange(heads.groups)[:, None, None]
    queries = (tile.queries[:, None] * heads.heads + head).flatten()  # (groups, S, heads / groups, L)
    keys = (tile.keys * heads.groups + group).flatten()
    real = tile.real[:, None].expand(heads.groups, rows, per_group, width).flatten()
    distance = tile.position[..., None] - torch.arange(tile.keys.shape[1])  # (S, L, K)
    unseen = (distance < 0) | (distance >= (heads.window or distance.shape[-1]))
    hidden = torch.zeros(unseen.shape, dtype=heads.dtype).masked_fill_(unseen, float("-inf"))[:, None]
    shape = (heads.groups, rows, per_group * width, tile.keys.shape[1])
    return Part(shape, queries, (~real).nonzero()[:, 0], keys, hidden), real


class _TreeAttention(torch.autograd.Function):
    """softmax(scale Q K' + mask) V in every part: (T heads, D) and twice (T groups, D) -> (T, heads, D)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, parts: Parts, scale: float) -> Tensor:
        kept, attended = [], []
        for part in parts.parts:
            weights = _scores(_queries(q, part).mul_(scale), k, part)
            kept.append(torch.softmax(weights, -1, out=weights))
            attended.append((weights @ _keys(v, part)).flatten(0, 2))
        ctx.save_for_backward(q, k, v, *kept)
        ctx.parts, ctx.scale = parts, scale
        return _in_order(attended, parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *kept = ctx.saved_tensors
        gradient = gradient.flatten(0, 1)
        d_k, d_v = (x.new_zeros(x.shape, dtype=torch.promote_types(x.dtype, torch.float32)) for x in (k, v))
        d_queries = []
        for part, weights in zip(ctx.parts.parts, kept, strict=True):
            d_out = _queries(gradient, part)
            d_out.flatten(0, 2).index_fill_(0, part.padding, 0)
            _add(d_v, part, weights.transpose(2, 3) @ d_out)
            d_scores = d_out @ _keys(v, part).transpose(2, 3)
            # The kernel of softmax's own backward pass: P * (dP - rowsum(P * dP)), here in place.
            torch._softmax_backward_data(d_scores, weights, -1, weights.dtype, grad_input=d_scores)
            _add(d_k, part, d_scores.transpose(2, 3) @ _queries(q, part).mul_(ctx.scale))
            d_queries.append((d_scores @ _keys(k, part)).flatten(0, 2))
        d_q = _in_order(d_queries, ctx.parts).flatten(0, 1).mul_(ctx.scale)
        return d_q, d_k.to(k.dtype), d_v.to(v.dtype), None, None


def _with_kept(q: Tensor, k: Tensor, v: Tensor, parts: Parts, scale: float, kept: tuple[Tensor, Tensor]) -> Tensor:
    """Softmax over the kept keys and the own path together, for scoring: no gradient has been thought of."""
    attended = []
    for part in parts.parts:
        groups, rows, count, _ = part.shape
        queries = _queries(q, part).mul_(scale)
        own = _scores(queries, k, part)
        before = (queries.flatten(1, 2) @ kept[0].transpose(1, 2)).view(groups, rows, count, -1)
        largest = torch.maximum(own.amax(-1, keepdim=True), before.amax(-1, keepdim=True))
        own, before = ((x - largest).float().exp() for x in (own, before))
        total = own.sum(-1, keepdim=True) + before.sum(-1, keepdim=True)
        own, before = own.to(v.dtype), before.to(v.dtype)
        seen = (before.flatten(1, 2) @ kept[1]).view(queries.shape)
        attended.append(((own @ _keys(v, part) + seen) / total).to(v.dtype).flatten(0, 2))
    return _in_order(attended, parts)


def _scores(queries: Tensor, k: Tensor, part: Part) -> Tensor:
    """(groups, S, M, K) of scaled queries, -inf where they do not see."""
    scores = queries @ _keys(k, part).transpose(2, 3)
    scores.unflatten(2, (-1, part.hidden.shape[2])).add_(part.hidden)
    return scores


def _in_order(attended: list[Tensor], parts: Parts) -> Tensor:
    """(T, heads, D) of the parts' rows. No view of another tensor, for compiled layers would tell the two apart."""
    rows = torch.cat(attended)
    result = rows.new_empty(*parts.back.shape, rows.shape[-1])
    torch.index_select(rows, 0, parts.back.flatten(), out=result.flatten(0, 1))
    return result


def _queries(rows: Tensor, part: Part) -> Tensor:
    """(T heads, D) -> (groups, S, M, D)"""
    return rows.index_select(0, part.queries).view(*part.shape[:3], -1)


def _keys(rows: Tensor, part: Part) -> Tensor:
    """(T groups, D) -> (groups, S, K, D)"""
    return rows.index_select(0, part.keys).view(*part.shape[:2], part.shape[3], -1)


def _add(total: Tensor, part: Part, gradient: Tensor) -> None:
    """A part's gradient (groups, S, K, D) to those of all keys (T groups, D)."""
    total.index_add_(0, part.keys, gradient.flatten(0, 2).to(total.dtype))
