"""How fast this machine multiplies matrices of a model's own shapes, and does all else: what a plan tells time from."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch

from camelid.models.compute import Precision, choose_compute
from camelid.models.devices import Rates
from camelid.models.recomputing import free_bytes
from camelid.models.rehearsal import rehearse
from camelid.models.shape import Shape

ROWS, ROWS_GPU = 1024, 8192
"""Tokens multiplied at once: on a CPU as many as a micro-batch has by default, on a GPU enough for all its cores."""


class Speed(NamedTuple):
    """What was measured, and where."""

    operations_per_second: float
    """Multiplications and additions."""
    number_bytes: int
    precision: str
    device: str
    memory_bytes: float | None = None
    """What is free; None where the system does not say."""
    share_of_cores: float = 1.0
    """How much of its threads' time this process had while it was measured; below 1 where other programs ran."""
    rates: Rates | None = None
    """Of each kind of work."""


def probe(shape: Shape, precision: Precision, *, seconds: float = 1.0) -> Speed:
    """Multiply with the matrices of one layer, over and over, for about so long; then rehearse each kind of work."""
    compute = choose_compute(precision)
    rows = ROWS if compute.device.type == "cpu" else ROWS_GPU
    kind: dict[str, Any] = {"device": compute.device, "dtype": compute.dtype}
    layer = [
        (torch.randn(rows, inputs, **kind), torch.randn(inputs, outputs, **kind)) for inputs, outputs in shape.matrices
    ]
    _multiply(layer)  # the first time also chooses algorithms and touches the memory
    started, worked = time.perf_counter(), time.process_time()
    end = started + seconds
    rounds = [_multiply(layer)]
    while time.perf_counter() < end:
        rounds.append(_multiply(layer))
    share = 1.0
    if compute.device.type == "cpu":
        elapsed = time.perf_counter() - started
        share = min((time.process_time() - worked) / (elapsed * torch.get_num_threads()), 1.0)
    # The fastest round: what else the machine is doing in this second says nothing about the hours to come.
    operations_per_second = 2 * rows * shape.layer_parameters / min(rounds)
    try:
        free = free_bytes(compute.device)
    except ValueError:
        free = None
    del layer
    return Speed(
        operations_per_second,
        compute.dtype.itemsize,
        str(compute.dtype).removeprefix("torch."),
        compute.device.type,
        free,
        round(share, 2),
        rehearse(shape, precision, operations_per_second, seconds=0.4 * seconds),
    )


def _multiply(layer: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Seconds of one round."""
    started = time.perf_counter()
    for x, weight in layer:
        product = x @ weight
    product[0, 0].item()  # a GPU works behind our back: reading a number waits for it
    return time.perf_counter() - started
