"""Linear layers with weights of eight bits: a few rows are decoded about as much faster as there is less to read.

A weight is q s, q from -127 to 127 and s one number for each output: s = max |w| / 127, in the products' format before
q is rounded, so that all the error is q's. Products are in the format of the states. torch's kernel is the faster one
for up to `KERNEL_ROWS` rows; for more, q goes into the products' format first, which for many rows is slower than
weights as they are. Measured on two busy cores (bfloat16, SmolLM2's 576 x 1,536, microseconds): 1 row 113 instead of
251, 4 rows 173 (266), 8 rows 275 (270).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camelid.models.fused import gated
from camelid.models.stand_ins import Forwards, gated_blocks, linear_layers

KERNEL_ROWS = 4


def int8_weights(model: nn.Module, dtype: torch.dtype) -> Forwards:
    """What stands in for every linear layer of a model on a CPU, its head included. Raises ValueError elsewhere."""
    device = next(model.parameters()).device
    if device.type != "cpu":
        raise ValueError(f"engine.weights=int8 is for a CPU, and the model is on {device}: set it to own")
    made: dict[nn.Module, Any] = {layer: Int8Linear(w, b, dtype) for layer, w, b in linear_layers(model)}
    # Blocks that are fused for training read their weights themselves, past their layers.
    for block, parts in gated_blocks(model):
        if all(part in made for part in parts):
            made[block] = partial(_gated_block, *(made[part] for part in parts))
    return made


class Int8Linear:
    """Stands in for a linear layer's `forward`."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype):
        largest = weight.abs().amax(1).float().clamp_min(1e-12)
        self.scale = (largest / 127).to(dtype)
        self.weight = (weight.float() / self.scale.float()[:, None]).round_().clamp_(-127, 127).to(torch.int8)
        self.bias = None if bias is None else bias.to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)"""
        rows = x.reshape(-1, x.shape[-1]).to(self.scale.dtype)
        if len(rows) <= KERNEL_ROWS:
            product = torch._weight_int8pack_mm(rows.contiguous(), self.weight, self.scale)
        else:
            product = F.linear(rows, self.weight.to(rows.dtype)) * self.scale
        if self.bias is not None:
            product = product + self.bias
        return product.view(*x.shape[:-1], -1).to(x.dtype)


def _gated_block(gate: Any, up: Any, down: Any, x: Tensor) -> Tensor:
    return down(gated(gate(x), up(x)))
