"""Attention over a part of the keys, and two parts put together: what decoding needs.

A row sees its prompt, which it shares with other samples, and its own tokens. Each part gives its softmax's result and
the logarithm of its softmax's sum, of which the whole follows exactly (Dao et al. 2022, arXiv:2205.14135, section 3.1):

    l = log(exp l1 + exp l2),    o = exp(l1 - l) o1 + exp(l2 - l) o2

Written out, since it is faster so on a CPU than torch's kernel: docs/log.md, eighth session.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

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
    scores = (query @ key.transpose(2, 3)).float()  # of bfloat16, a CPU finds the largest four times as slowly
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
