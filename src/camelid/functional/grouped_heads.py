"""Fewer key-value heads out of many: the arithmetic of grouped-query attention's conversion."""

from __future__ import annotations

import torch
from torch import Tensor


def pool_heads(weight: Tensor, num_heads: int, num_groups: int) -> Tensor:
    """Mean of the heads of each group (Ainslie et al. 2023, arXiv:2305.13245, section 2.1 and figure 1).

        W_g = (G / H) sum over heads h with floor(h G / H) = g of W_h

    `weight`: (H D, ...), the projection to keys or to values, or its bias, head by head. Returns (G D, ...) in the same
    format; the mean is taken in float32. Groups are runs of neighbours, as attention reads them. A mean is linear, as
    rotary embeddings are: heads that are equal within a group lose nothing. Raises ValueError unless G divides H.
    """
    if num_groups < 1 or num_heads % num_groups:
        raise ValueError(f"{num_heads} heads cannot be pooled into {num_groups} groups: {_divisors(num_heads)} can")
    if weight.shape[0] % num_heads:
        raise ValueError(f"a weight of {weight.shape[0]} rows has no {num_heads} heads")
    heads = weight.view(num_groups, num_heads // num_groups, weight.shape[0] // num_heads, *weight.shape[1:])
    return heads.mean(1, dtype=torch.float32).to(weight.dtype).flatten(0, 1)


def _divisors(number: int) -> str:
    return ", ".join(str(d) for d in range(1, number + 1) if number % d == 0)
