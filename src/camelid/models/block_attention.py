"""Causal attention of a tile of segments by blocks of queries, with its backward pass by hand, for CPUs.

A block of queries meets the keys up to its own end, so that above the diagonal only the blocks' triangles are computed.
Scores are in the format of the inputs, in which a CPU multiplies fastest; softmax sums in float32. With
P = softmax(scale Q K'), O = P V and dO the gradient of O (Dao et al. 2022, arXiv:2205.14135, algorithm 4):

    dV = P' dO,    dP = dO V',    dS = P * (dP - D),    D = rowsum(dO * O) = rowsum(P * dP)
    dQ = scale dS K,    dK = dS' (scale Q)

A block holds whole rows of P, so nothing is merged from parts of a row: softmax's own kernels serve, which are faster
than exp(S - logsumexp), and with the second form of D neither O nor the logsumexp is kept. Up to `KEPT_BELOW` tokens P
is kept for the backward pass; above, it is computed again, and memory grows with the length, not with its square.
Measured on 2 busy cores in bfloat16, SmolLM2, one layer, forward and backward, medians of 9
(`benchmarks/attention.py`), against scores written out up to 256 tokens and torch's kernel in float32 above: 1 segment
of 1,024 tokens 30.2 instead of 52.5 ms, 2 of 512 21.8 (34.1), 4 of 256 10.9 (16.3), 5 of 200 9.1 (9.5), 10 of 94 5.8
(7.5), 32 of 32 3.8 (3.4).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

COLUMN = 512
"""Bytes of the scores of a block for one key and head: 256 queries in bfloat16, 128 in float32."""
KEPT_BELOW = 256
"""Longest tile, in tokens, whose weights are kept for the backward pass."""
LINE = 32
"""Keys are padded to a multiple: softmax over 94 numbers in bfloat16 takes three times as long as over 96."""


def block_attention(query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None) -> Tensor:
    """Causal attention: (S, L, heads, D) and twice (S, L, groups, D) -> (S, L, heads, D).

    `window`: how many keys back a query sees, itself included.
    """
    return _BlockAttention.apply(query, key, value, scale, window)


class Block(NamedTuple):
    """Queries from `start` to `end`, and the keys that they see between them, from `first` to `last`, on full lines."""

    start: int
    end: int
    first: int
    last: int


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        length, groups = key.shape[1:3]
        keys, values = _keys(key), _keys(value)
        keep = any(ctx.needs_input_grad) and length <= KEPT_BELOW
        kept, scratch = [], None if keep else _scratch(query, keys)
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        for block in _blocks(key, window):
            weights = _weights(_queries(query, groups, block, scale), _seen(keys, block), block, window, scratch)
            _put(out, groups, block, weights @ _seen(values, block))
            if keep:
                kept.append(weights)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.scale, ctx.window = scale, window
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        scale, window, groups = ctx.scale, ctx.window, key.shape[2]
        keys, values = _keys(key), _keys(value)
        scratch, other = None if kept else _scratch(query, keys), _scratch(query, keys)
        d_query = torch.empty_like(query, memory_format=torch.contiguous_format)
        blocks = _blocks(key, window)
        # Sums over several blocks in float32, or every block would round the whole sum once more.
        wide = key.dtype if len(blocks) == 1 else torch.promote_types(key.dtype, torch.float32)
        d_keys, d_values = torch.zeros_like(keys, dtype=wide), torch.zeros_like(values, dtype=wide)
        for i, block in enumerate(blocks):
            queries, seen = _queries(query, groups, block, scale), _seen(keys, block)
            d_out = _queries(gradient, groups, block)
            weights = kept[i] if kept else _weights(queries, seen, block, window, scratch)
            _add(_seen(d_values, block), weights.transpose(1, 2), d_out)
            d_scores = torch.bmm(d_out, _seen(values, block).transpose(1, 2), out=_room(other, weights.shape))
            # The kernel of softmax's own backward pass: P * (dP - rowsum(P * dP)), here in place.
            torch._softmax_backward_data(d_scores, weights, -1, weights.dtype, grad_input=d_scores)
            _put(d_query, groups, block, torch.baddbmm(queries, d_scores, seen, beta=0, alpha=scale))
            _add(_seen(d_keys, block), d_scores.transpose(1, 2), queries)
        return d_query, _unpadded(d_keys, key), _unpadded(d_values, value), None, None


def _weights(queries: Tensor, keys: Tensor, block: Block, window: int | None, scratch: Tensor | None) -> Tensor:
    """softmax(Q K') over what is visible: (n, M, D) and (n, K, D) -> (n, M, K)."""
    count, rows, columns = len(keys), block.end - block.start, keys.shape[1]
    shape = torch.Size((count, queries.shape[1], columns))
    scores = queries.new_empty(shape) if scratch is None else _room(scratch, shape)
    if window is not None and block.end > window:
        before = block.start - block.first
        hidden = _hidden(rows, columns, before, queries.shape[1] // rows, window, queries.dtype)
    else:
        hidden = _hidden(rows, columns - block.start, 0, queries.shape[1] // rows, None, queries.dtype)
    if hidden.shape[1] == columns:
        torch.baddbmm(hidden, queries, keys.transpose(1, 2), out=scores)
    else:
        torch.bmm(queries, keys.transpose(1, 2), out=scores)
        scores[..., -hidden.shape[1] :].add_(hidden)
    return torch.softmax(scores, -1, out=scores)


@lru_cache(maxsize=16)
def _hidden(rows: int, columns: int, before: int, heads: int, window: int | None, dtype: torch.dtype) -> Tensor:
    """(rows heads, columns): -inf where query i, which stands at key `before` + i, does not see key j, else 0."""
    distance = before + torch.arange(rows)[:, None] - torch.arange(columns)
    visible = (distance >= 0) & (distance < (window or columns))
    return torch.zeros(rows, columns, dtype=dtype).masked_fill_(~visible, float("-inf")).repeat_interleave(heads, 0)


def _add(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left right."""
    if total.dtype == left.dtype:
        total.baddbmm_(left, right)
    else:
        total += left @ right


def _blocks(key: Tensor, window: int | None) -> list[Block]:
    length, size = key.shape[1], _size(key)
    blocks = []
    for start in range(0, length, size):
        end = min(start + size, length)
        first = 0 if window is None else max(start - window + 1, 0) // LINE * LINE
        blocks.append(Block(start, end, first, padded(end)))
    return blocks


def _size(x: Tensor) -> int:
    """Queries of a block."""
    return COLUMN // x.element_size()


def padded(length: int) -> int:
    """To a full line."""
    return -(-length // LINE) * LINE


def _queries(x: Tensor, groups: int, block: Block, scale: float = 1.0) -> Tensor:
    """(S, L, heads, D) -> (S groups, M, D): a block's tokens; the heads that share keys are rows beside each other."""
    x = x[:, block.start : block.end].unflatten(2, (groups, -1)).transpose(1, 2)
    # The copy into this order is needed anyway, and scales without a pass of its own.
    return torch.mul(x, scale, out=x.new_empty(x.shape)).view(x.shape[0] * groups, -1, x.shape[-1])


def _put(out: Tensor, groups: int, block: Block, part: Tensor) -> None:
    """The inverse of `_queries`, into `out`."""
    place = out[:, block.start : block.end].unflatten(2, (groups, -1)).transpose(1, 2)
    place.copy_(part.view(place.shape))


def _keys(x: Tensor) -> Tensor:
    """(S, L, groups, D) -> (S groups, L to a full line, D)."""
    rows, length, groups, width = x.shape
    result = x.new_zeros(rows, groups, padded(length), width)
    result[:, :, :length] = x.transpose(1, 2)
    return result.flatten(0, 1)


def _unpadded(x: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_keys`."""
    rows, length, groups, _ = like.shape
    return x.unflatten(0, (rows, groups))[:, :, :length].transpose(1, 2).to(like.dtype)


def _seen(x: Tensor, block: Block) -> Tensor:
    """Of keys, values or their gradients (n, L, D) those that a block sees."""
    return x[:, block.first : block.last]


def _scratch(query: Tensor, keys: Tensor) -> Tensor:
    """Room for the scores of any block."""
    rows, length, heads, _ = query.shape
    return query.new_empty(rows * heads * min(_size(query), length) * keys.shape[1])


def _room(scratch: Tensor, shape: torch.Size) -> Tensor:
    return scratch[: shape.numel()].view(shape)
