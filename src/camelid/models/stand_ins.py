"""Other ways through some of a model's modules, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from camelid.models.fused import is_gated_block
from camelid.models.lora import LoraLinear

Forwards = Mapping[nn.Module, Callable[[Tensor], Tensor]]


@contextmanager
def standing_in(forwards: Forwards) -> Iterator[None]:
    """Inside, these modules answer by these functions. What answered before does so again, after an error as well."""
    before: dict[nn.Module, Any] = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.forward = forward  # an attribute of the object, in front of the class's method
        yield
    finally:
        for module, old in before.items():
            vars(module).pop("forward", None)
            if old is not None:
                module.forward = old


def linear_layers(model: nn.Module) -> Iterator[tuple[nn.Module, Tensor, Tensor | None]]:
    """Linear layers with weight and bias; of one with adapters the active one is in the weight."""
    inside: set[nn.Module] = set()
    for layer in model.modules():
        if isinstance(layer, LoraLinear):
            inside.add(layer.base)
            yield layer, layer.merged_weight().detach(), _detached(layer.base.bias)
        elif type(layer) is nn.Linear and layer not in inside:
            yield layer, layer.weight.detach(), _detached(layer.bias)


def gated_blocks(model: nn.Module) -> Iterator[tuple[nn.Module, tuple[Any, Any, Any]]]:
    """Feed-forward blocks that compute down(silu(gate(x)) * up(x)), as in Llama, with gate, up and down."""
    for block in model.modules():
        if is_gated_block(block):
            made: Any = block
            yield block, (made.gate_proj, made.up_proj, made.down_proj)


def _detached(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()
