"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): y = W x + (alpha / r) B A x, with W frozen.

Own code rather than peft's, which is slow to import and whose wrappers stand between the loop and the model; a test
holds it to peft's arithmetic. Adapters are float32 whatever the trunk's format, so small updates are not rounded away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LoraLinear(nn.Module):
    """A frozen linear layer with an adapter beside it."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator):
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.enabled = True
        device = base.weight.device
        # Kaiming-uniform A and zero B, as in the original code: the adapter starts as the identity.
        bound = 1 / math.sqrt(base.in_features)
        a = torch.empty(rank, base.in_features).uniform_(-bound, bound, generator=generator)
        self.lora_a = nn.Parameter(a.to(device))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        if not self.enabled:
            return self.base(x)
        return _Adapted.apply(x, self.base.weight, self.base.bias, self.lora_a, self.lora_b, self.scale)

    def merged_weight(self) -> Tensor:
        """W + (alpha / r) B A in float32, shape (out, in)."""
        return self.base.weight.float() + self.scale * (self.lora_b @ self.lora_a)


class _Adapted(torch.autograd.Function):
    """y = W x + scale B A x with its gradient by hand: sums go into the large products' outputs, nothing is copied."""

    @staticmethod
    def forward(ctx, x, weight, bias, a, b, scale):
        rows = x.reshape(-1, x.shape[-1])
        a, b = a.to(x.dtype), (b * scale).to(x.dtype)
        low = rows @ a.T
        ctx.save_for_backward(rows, low, weight, a, b)
        ctx.scale = scale
        return F.linear(rows, weight, bias).addmm_(low, b.T).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, gradient):
        rows, low, weight, a, b = ctx.saved_tensors
        shape = gradient.shape[:-1]
        gradient = gradient.reshape(-1, gradient.shape[-1])
        d_low = gradient @ b
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = (gradient @ weight).addmm_(d_low, a).view(*shape, -1)
        d_a = (d_low.T @ rows).float()
        d_b = (gradient.T @ low).float() * ctx.scale
        return d_x, None, None, d_a, d_b, None


def add_lora(layers: nn.ModuleList, *, rank: int, alpha: float, first_layer: int, seed: int) -> None:
    """Put an adapter on every linear layer of `layers[first_layer:]`; below it nothing trains and backward stops."""
    generator = torch.Generator().manual_seed(seed)
    for layer in layers[first_layer:]:
        targets = [(name, module) for name, module in layer.named_modules() if isinstance(module, nn.Linear)]
        for name, module in targets:
            parent = layer.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], LoraLinear(module, rank, alpha, generator))


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """The model as it was before training: the reference policy, at no memory."""
    layers = [module for _, module in lora_layers(model)]
    for module in layers:
        module.enabled = False
    try:
        yield
    finally:
        for module in layers:
            module.enabled = True


def merged_state(model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """The model's weights under their original names, adapters merged, ready for `save_pretrained`."""
    adapters = dict(lora_layers(model))
    merged = {}
    for name, tensor in model.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        if owner in adapters:
            continue  # lora_a, lora_b: merged into the base weight below
        if owner.removesuffix(".base") in adapters and owner.endswith(".base"):
            owner = owner.removesuffix(".base")
            if leaf == "weight":
                tensor = adapters[owner].merged_weight().detach()
            name = f"{owner}.{leaf}"
        merged[name] = tensor.to(dtype).contiguous()
    return merged
