"""Training's small operators with their gradients by hand: RMSNorm and the gate of a feed-forward block.

Left to autograd, each is a chain of passes over memory, and each pass keeps its result for the backward pass. Kept
here: a norm's input and one number a token; a gate's two inputs. The arithmetic in between is float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SILU = ("SiLU", "SiLUActivation")
"""Names of the activation in torch and in transformers."""


def fuse(decoder: Any, dtype: torch.dtype) -> None:
    """Fuse the RMSNorms and gated blocks of a decoder. Norms inside its layers answer in `dtype`, that of products.

    A module that only looks alike is left as it is: Gemma's norm, for one, multiplies with 1 + weight.
    """
    inside = set(decoder.layers.modules())
    for module in decoder.modules():
        if _is_rms_norm(module):
            module.forward = partial(_norm, module, _epsilon(module), dtype if module in inside else None)
        elif is_gated_block(module):
            module.forward = partial(_gated_block, module)


def release(layer: Any) -> None:
    """Give the modules inside a layer their own `forward` back, those of `master_weights` too."""
    for module in layer.modules():
        if isinstance(vars(module).get("forward"), partial):
            del module.forward


def gated(opened: Tensor, carried: Tensor) -> Tensor:
    """silu(opened) * carried (Shazeer 2020, arXiv:2002.05202, SwiGLU)."""
    return F.silu(opened).mul_(carried)


def d_gated(gradient: Tensor, opened: Tensor, carried: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `gated` to both its inputs, and its value; `gradient` is overwritten."""
    silu = F.silu(opened)
    d_carried = gradient * silu
    d_opened = torch.ops.aten.silu_backward(gradient.mul_(carried), opened)
    return d_opened, d_carried, silu.mul_(carried)


class Gate(torch.autograd.Function):
    """`gated`, keeping only its inputs."""

    @staticmethod
    def forward(ctx, opened, carried):
        ctx.save_for_backward(opened, carried)
        return gated(opened, carried)

    @staticmethod
    def backward(ctx, gradient):
        return d_gated(gradient.clone(), *ctx.saved_tensors)[:2]


class RmsNorm(torch.autograd.Function):
    """y = w x / rms(x), rms(x) = sqrt(mean(x^2) + eps) (Zhang and Sennrich 2019, arXiv:1910.07467, equation 4).

    With n = x / rms(x) and g the gradient of y: dx = (g w - n mean(g w n)) / rms(x), dw = sum of g n.
    """

    @staticmethod
    def forward(ctx, x, weight, eps, dtype):
        wide = x.float()
        scale = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(x, scale, weight)
        return (wide * scale).mul_(weight).to(dtype or x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        x, scale, weight = ctx.saved_tensors
        normed, gradient = x.float() * scale, gradient.float()
        d_weight = None
        if ctx.needs_input_grad[1]:
            d_weight = (gradient * normed).flatten(0, -2).sum(0).to(weight.dtype)
        scaled = gradient * weight
        mean = (scaled * normed).mean(-1, keepdim=True)
        return scaled.sub_(normed.mul_(mean)).mul_(scale).to(x.dtype), d_weight, None, None


def _norm(module: nn.Module, eps: float, dtype: torch.dtype | None, x: Tensor) -> Tensor:
    return RmsNorm.apply(x, module.weight, eps, dtype)


def _gated_block(block: Any, x: Tensor) -> Tensor:
    return block.down_proj(Gate.apply(block.gate_proj(x), block.up_proj(x)))


def is_gated_block(module: Any) -> bool:
    """Whether a feed-forward block computes down(silu(gate(x)) * up(x)): by its parts' names, and by trying."""
    parts: list[Any] = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if not all(isinstance(part, nn.Module) for part in parts):
        return False
    if type(getattr(module, "act_fn", None)).__name__ not in SILU:
        return False
    return _alike(module, lambda x: _gated_block(module, x), next(parts[0].parameters()))


def _epsilon(module: Any) -> float:
    return getattr(module, "variance_epsilon", None) or getattr(module, "eps", None) or 0.0


def _is_rms_norm(module: Any) -> bool:
    """Whether a norm computes what `RmsNorm` does: by its name, and by trying."""
    weight = getattr(module, "weight", None)
    if not type(module).__name__.endswith("RMSNorm") or weight is None or weight.ndim != 1 or not _epsilon(module):
        return False
    return _alike(module, lambda x: RmsNorm.apply(x, weight, _epsilon(module), None), weight)


@torch.no_grad()
def _alike(theirs: Callable[[Tensor], Tensor], ours: Callable[[Tensor], Tensor], weight: Tensor) -> bool:
    """Whether two functions answer alike to two rows of the width that `weight` reads."""
    x = torch.linspace(-2, 3, 2 * weight.shape[-1], device=weight.device).view(1, 2, -1).to(weight.dtype)
    a, b = ours(x).float(), theirs(x).float()
    return bool((a - b).norm() <= (1e-4 if weight.dtype == torch.float32 else 0.02) * b.norm())
