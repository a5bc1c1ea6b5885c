"""Losses of a step's micro-batches, as tensors until the last is on its way: a GPU is waited for once a step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Sums:
    """What the loss of one micro-batch came to; `values` has `loss` among its names. Holds no graph."""

    def __init__(self, rows: Sequence[int], values: dict[str, Tensor]):
        self.rows = rows
        self.values = {name: value.detach() for name, value in values.items()}


def read_at_once(found: Sequence[Sums]) -> list[dict[str, float]]:
    """The numbers of each micro-batch, with one look at the device.

    Raises FloatingPointError, naming the rows, where a loss is not finite. Its gradients have been added up by then:
    nothing may be made of them, and no weight has changed yet.
    """
    if not found:
        return []
    # In float64 all formats keep their value, and so do counts above 2^24.
    device = found[0].values["loss"].device
    values = [value.to(device, torch.float64) for sums in found for value in sums.values.values()]
    flat = iter(torch.stack(values).tolist())
    numbers = [{name: next(flat) for name in sums.values} for sums in found]
    for sums, own in zip(found, numbers, strict=True):
        if not math.isfinite(own["loss"]):
            raise FloatingPointError(f"the loss of rows {list(sums.rows)} is {own['loss']}")
    return numbers
