"""Full fine-tuning: float32 master weights, products in the compute format, gradients added up where they belong.

Mixed precision as Micikevicius et al. 2017 (arXiv:1710.03740, section 3.1) have it. `torch.autocast` does the same, but
casts every weight anew for each micro-batch, and autograd makes a gradient of the weights' size for each micro-batch
before it adds it. Here a weight is cast when it has changed, once an optimizer step, and each product adds its gradient
to `weight.grad` at once. The modules stay what they are; only their `forward` is another, so names, saving and hooks
know nothing of it. One SFT step of SmolLM2: docs/log.md, seventh session.

Left out: `torch.autograd.grad` with regard to these weights, which has nothing to return.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camelid.models.fused import d_gated, gated, is_gated_block


def hold_master_weights(model: Any, dtype: torch.dtype) -> None:
    """Let the linear layers, gated blocks and embeddings of `model` multiply in `dtype`; the weights are float32."""
    for module in model.modules():
        if is_gated_block(module) and _is_plain(module):
            module.forward = partial(_gated_block, module, dtype)
        elif type(module) is nn.Linear:
            module.forward = partial(_linear, module, dtype)
        elif type(module) is nn.Embedding and module.max_norm is None and not module.scale_grad_by_freq:
            module.forward = partial(_embedding, module)


def in_format(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """`weight` in `dtype`, without a gradient; kept until an in-place operation changes the weight."""
    if weight.dtype == dtype:
        return weight.detach()
    kept: tuple[int, Tensor] | None = getattr(weight, "camelid_cast", None)
    if kept is not None and kept[0] == weight._version and kept[1].dtype == dtype:
        return kept[1]
    cast = weight.detach().to(dtype)
    weight.camelid_cast = (weight._version, cast)  # type: ignore[attr-defined]
    return cast


def gradient_of(weight: Tensor) -> Tensor:
    """`weight.grad`, to be added to; zeros where there was none yet."""
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def _linear(layer: nn.Linear, dtype: torch.dtype, x: Tensor) -> Tensor:
    return _Linear.apply(x, layer.weight, layer.bias, dtype)


def _gated_block(block: Any, dtype: torch.dtype, x: Tensor) -> Tensor:
    return _GatedBlock.apply(x, block.gate_proj.weight, block.up_proj.weight, block.down_proj.weight, dtype)


def _embedding(layer: nn.Embedding, ids: Tensor) -> Tensor:
    return _Embedding.apply(ids, layer.weight)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, dtype):
        rows, cast = _rows(x, dtype), in_format(weight, dtype)
        ctx.save_for_backward(rows, cast)
        ctx.weight, ctx.bias = weight, bias
        y = F.linear(rows, cast, None if bias is None else in_format(bias, dtype))
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, gradient):
        rows, cast = ctx.saved_tensors
        d_y = _rows(gradient, cast.dtype)
        _add(ctx.weight, d_y, rows)
        if ctx.bias is not None and ctx.bias.requires_grad:
            gradient_of(ctx.bias).add_(d_y.sum(0, dtype=torch.float32))
        d_x = (d_y @ cast).view(*gradient.shape[:-1], -1) if ctx.needs_input_grad[0] else None
        return d_x, None, None, None


class _GatedBlock(torch.autograd.Function):
    """down(silu(gate(x)) * up(x)), as in Llama: what `down` reads is computed again rather than kept."""

    @staticmethod
    def forward(ctx, x, gate, up, down, dtype):
        rows = _rows(x, dtype)
        casts = [in_format(weight, dtype) for weight in (gate, up, down)]
        opened, carried = rows @ casts[0].T, rows @ casts[1].T
        ctx.save_for_backward(rows, opened, carried, *casts)
        ctx.weights = gate, up, down
        return (gated(opened, carried) @ casts[2].T).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, gradient):
        rows, opened, carried, gate, up, down = ctx.saved_tensors
        d_y = _rows(gradient, down.dtype)
        d_opened, d_carried, product = d_gated(d_y @ down, opened, carried)
        for weight, d_out, read in zip(ctx.weights, (d_opened, d_carried, d_y), (rows, rows, product), strict=True):
            _add(weight, d_out, read)
        d_x = (d_opened @ gate).addmm_(d_carried, up) if ctx.needs_input_grad[0] else None
        return None if d_x is None else d_x.view(*gradient.shape[:-1], -1), None, None, None, None


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, ids, weight):
        ctx.save_for_backward(ids)
        ctx.weight = weight
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx, gradient):
        (ids,) = ctx.saved_tensors
        weight = ctx.weight
        if weight.requires_grad:
            gradient_of(weight).index_add_(0, ids.flatten(), _rows(gradient, weight.dtype))
        return None, None


def _rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.reshape(-1, x.shape[-1]).to(dtype)


def _add(weight: Tensor, d_y: Tensor, rows: Tensor) -> None:
    """weight.grad += d_y^T rows, the product in the compute format and the sum in float32."""
    if weight.requires_grad:
        gradient_of(weight).add_(d_y.T @ rows)


def _is_plain(block: Any) -> bool:
    """Whether a gated block consists of linear layers without biases."""
    return all(type(p) is nn.Linear and p.bias is None for p in (block.gate_proj, block.up_proj, block.down_proj))
