"""Multi-head attention turned into grouped-query attention: keys and values of each group of heads pooled.

A converted model is damaged until it is trained on; Ainslie et al. 2023 (arXiv:2305.13245, section 2.1) go on with the
original pretraining for 5% of its steps. Models that have groups already are pooled further; one group is multi-query
attention. Left out: learnt or searched groupings; fused projections, which are refused.

    camelid models convert-gqa MODEL --groups 1 --out models/multi-query
"""

from __future__ import annotations

from typing import Any

from torch import nn

from camelid.functional.grouped_heads import pool_heads


def group_key_value_heads(model: Any, num_groups: int) -> None:
    """Give every layer `num_groups` key-value heads, weights, biases and configuration included.

    Raises ValueError, before anything has changed, where the number does not divide or the layers are of another kind.
    """
    config = model.config
    num_heads = getattr(config, "num_key_value_heads", None)
    if num_heads is None:
        raise ValueError(f"{type(model).__name__} cannot have groups: its config has no num_key_value_heads")
    attentions = [_attention(layer, num_heads) for layer in model.base_model.layers]
    pooled = [
        {name: _pooled(getattr(attention, name), num_heads, num_groups) for name in ("k_proj", "v_proj")}
        for attention in attentions
    ]
    for attention, projections in zip(attentions, pooled, strict=True):
        for name, projection in projections.items():
            setattr(attention, name, projection)
        attention.num_key_value_groups = config.num_attention_heads // num_groups
    config.num_key_value_heads = num_groups


def cache_bytes_per_token(model: Any) -> int:
    """What one token leaves in the cache, in the model's number format."""
    attention = model.base_model.layers[0].self_attn
    numbers = attention.k_proj.out_features + attention.v_proj.out_features
    return len(model.base_model.layers) * numbers * model.dtype.itemsize


def _attention(layer: Any, num_heads: int) -> Any:
    """A layer's attention. Raises ValueError where its keys and values cannot be told apart, head by head."""
    attention: Any = getattr(layer, "self_attn", None)
    maps = [getattr(attention, name, None) for name in ("k_proj", "v_proj")]
    if not all(isinstance(m, nn.Linear) and m.out_features == num_heads * attention.head_dim for m in maps):
        raise ValueError(
            f"{type(layer).__name__} has no k_proj and v_proj of {num_heads} heads each (fused, shared or of another "
            f"kind), which camelid cannot pool"
        )
    norm = getattr(attention, "k_norm", None)
    if norm is not None and norm.weight.numel() != attention.head_dim:
        raise ValueError(
            f"{type(layer).__name__} normalises all its keys at once (k_norm of {norm.weight.numel()}); pooling would "
            f"change the norm of every head"
        )
    return attention


def _pooled(projection: nn.Linear, num_heads: int, num_groups: int) -> nn.Linear:
    weight = pool_heads(projection.weight.detach(), num_heads, num_groups)
    pooled = nn.Linear(weight.shape[1], weight.shape[0], bias=projection.bias is not None, dtype=weight.dtype)
    pooled.weight.data = weight
    if projection.bias is not None:
        pooled.bias.data = pool_heads(projection.bias.detach(), num_heads, num_groups)
    return pooled
