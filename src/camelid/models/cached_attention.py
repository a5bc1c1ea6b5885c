"""Attention over a part of the keys, and two parts put together: what decoding needs.

A row sees its prompt, which it shares with other samples, and its own tokens. Each part gives its softmax's result and
the logarithm of its softmax's sum, of which the whole follows exactly (Dao et al. 2022, arXiv:2205.14135, section 3.1):

    l = log(exp l1 + exp l2),    o = exp(l1 - l) o1 + exp(l2 - l) o2

On a CPU torch's kernel gives both where many queries meet the same keys, as the samples of a prompt do; with few it is
slower than what is written out, whose keys come first in the product, since there are more of them than queries.
Measured on two cores with AMX, one layer: 13 prompts of 150 tokens, 24 queries each, 0.19 instead of 0.33 ms; 512 rows
with 64 tokens of their own, 3 queries each, 2.8 instead of 2.0 (2.5 with queries first).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

KERNEL = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
"""Not public, and public attention gives no logarithm of the sum; where torch has it no more, it is written out."""
MANY_QUERIES = 8
"""From so many on torch's kernel is asked. Chosen between 3 and 24, which were measured."""
UNSEEN = -1e30
"""Added where a query does not see. Not -inf: it may see nothing of a part, whose share is then 0, not undefined."""


class Seen(NamedTuple):
    """What a part of the keys gives."""

    values: Tensor
    """(..., D)"""
    logsum: Tensor
    """(...) float32"""


def partial_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Seen:
    """Scaled queries (B, groups, M, D), keys and values (B, groups, K, D) -> (B, groups, M, D) and (B, groups, M).

    `mask`: (B, 1, 1, K), `UNSEEN` where a key is not seen, else 0, in the queries' format.
    """
    if query.device.type == "cpu" and query.shape[2] >= MANY_QUERIES and KERNEL is not None:
        unseen = None if mask is None else mask.expand(*query.shape[:3], -1)
        return Seen(*KERNEL(query, key, value, attn_mask=unseen, scale=1.0))
    # In float32, since a CPU finds the largest of bfloat16 four times as slowly.
    kind: dict[str, Any] = {"dtype": torch.float32, "memory_format": torch.contiguous_format}
    scores = (key @ query.transpose(2, 3)).transpose(2, 3).to(**kind)
    if mask is not None:
        scores += mask
    weights = torch.softmax(scores, -1)
    # The largest weight is exp(largest score - logsum).
    logsum = scores.amax(-1) - weights.amax(-1).log_()
    return Seen(weights.to(value.dtype) @ value, logsum)


def merged(first: Seen, second: Seen) -> Tensor:
    """Attention over both parts."""
    share = torch.sigmoid(first.logsum - second.logsum)[..., None]
    return torch.lerp(second.values.float(), first.values.float(), share).to(first.values.dtype)
