"""Attention of one new token a row over a slot cache: what decoding needs."""

from __future__ import annotations

import torch
from torch import Tensor


def cached_attention(
    query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, scale: float, window: int | None
) -> Tensor:
    """Query (B, heads, 1, D) over keys and values (B, groups, S, D), of which each row sees its first `lengths` (B,).

    Returns (B, 1, heads, D).
    """
    batch, heads, _, width = query.shape
    groups = key.shape[1]
    position = torch.arange(key.shape[2], device=query.device)
    visible = position < lengths[:, None]  # (B, S)
    if window is not None:
        visible &= position >= lengths[:, None] - window
    # The heads of a group share their keys: (B, groups, heads / groups, D) x (B, groups, D, S).
    scores = query.view(batch, groups, heads // groups, width) @ key.transpose(2, 3)
    scores = scores.float() * scale
    weights = scores.masked_fill(~visible[:, None, None], float("-inf")).softmax(-1)
    return (weights.to(value.dtype) @ value).view(batch, 1, heads, width)
