"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): y = W x + (alpha / r) B A x, with W frozen.

A layer may carry several adapters by name; one of them, or none, is active. So one trunk in memory is the policy, the
reference and whatever else was trained on it: `using(model, name)` chooses for a while, and `sharing.view` gives a
second model around the same weights, with a choice of its own.

Own code rather than peft's, which is slow to import and whose wrappers stand between the loop and the model; a test
holds it to peft's arithmetic. Adapters are float32 whatever the trunk's format, so small updates are not rounded away.

Left out: dropout on the adapter's input. Rollouts and training must see one network, or the ratio of their
probabilities, which PPO clips, is noise before anything was learnt; and a gradient that depends on a mask drawn in the
loop would depend on how rows fall into micro-batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TRAINED = "trained"
"""Name of the adapter that trains."""
START = "start"
"""Name of the frozen copy of an adapter that is trained further: what the reference reads."""


class Adapter(nn.Module):
    """A (r, in) and B (out, r) of one linear layer; what is added to its weight is scale B A."""

    def __init__(self, a: Tensor, b: Tensor, scale: float):
        super().__init__()
        self.lora_a = nn.Parameter(a)
        self.lora_b = nn.Parameter(b)
        self.scale = scale

    def added_to(self, weight: Tensor) -> Tensor:
        """W + scale B A in float32, shape (out, in)."""
        return weight.float() + self.scale * (self.lora_b @ self.lora_a)


class LoraLinear(nn.Module):
    """A frozen linear layer with adapters beside it."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base = base
        self.adapters = nn.ModuleDict()
        self.active: str | None = None

    def add(self, name: str, adapter: Adapter) -> None:
        """Another adapter, active from now on."""
        if name in self.adapters:
            raise ValueError(f"there is an adapter {name!r} already")
        self.adapters[name] = adapter.to(self.base.weight.device)
        self.active = name

    @property
    def adapter(self) -> Adapter | None:
        """The active one; None where none is, or where the active one leaves this layer as it is."""
        if self.active is None or self.active not in self.adapters:
            return None
        return cast(Adapter, self.adapters[self.active])

    def forward(self, x: Tensor) -> Tensor:
        adapter = self.adapter
        if adapter is None:
            return self.base(x)
        return _Adapted.apply(x, self.base.weight, self.base.bias, adapter.lora_a, adapter.lora_b, adapter.scale)

    def merged_weight(self) -> Tensor:
        """The weight with the active adapter in it, in float32, shape (out, in)."""
        weight = self.base.weight
        return weight.float() if self.adapter is None else self.adapter.added_to(weight)


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
        d_x = d_a = d_b = None
        if ctx.needs_input_grad[0]:
            d_x = (gradient @ weight).addmm_(d_low, a).view(*shape, -1)
        if ctx.needs_input_grad[3]:
            d_a = (d_low.T @ rows).float()
        if ctx.needs_input_grad[4]:
            d_b = (gradient.T @ low).float() * ctx.scale
        return d_x, None, None, d_a, d_b, None


def has_adapter(model: nn.Module, name: str) -> bool:
    return any(name in layer.adapters for _, layer in lora_layers(model))


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module


@contextmanager
def using(model: nn.Module, name: str | None) -> Iterator[None]:
    """The model with the adapter `name`, or with none. Whatever was active comes back, after an error as well.

    A pass that is computed again for its gradient must be backed through inside, too.
    """
    layers = [layer for _, layer in lora_layers(model)]
    if name is not None and not any(name in layer.adapters for layer in layers):
        names = sorted({known for layer in layers for known in layer.adapters})
        raise ValueError(f"no adapter {name!r}; there are {', '.join(names) or 'none'}")
    before = [layer.active for layer in layers]
    for layer in layers:
        layer.active = name
    try:
        yield
    finally:
        for layer, active in zip(layers, before, strict=True):
            layer.active = active


def adapters_off(model: nn.Module) -> AbstractContextManager[None]:
    """The model as it was before training: the reference policy, at no memory."""
    return using(model, None)


def merged_state(model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """The model's weights under their original names, active adapters merged, ready for `save_pretrained`."""
    adapted = dict(lora_layers(model))
    merged = {}
    for name, tensor in model.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        if name.partition(".adapters.")[0] in adapted:
            continue  # merged into the base weight below
        if owner.removesuffix(".base") in adapted and owner.endswith(".base"):
            owner = owner.removesuffix(".base")
            if leaf == "weight":
                tensor = adapted[owner].merged_weight().detach()
            name = f"{owner}.{leaf}"
        # Off the device one by one: all of them once more beside the weights and the optimizer would not fit.
        merged[name] = tensor.to(dtype).cpu().contiguous()
    return merged
