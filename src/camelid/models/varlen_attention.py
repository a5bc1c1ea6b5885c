"""Causal attention over packed segments in one call of a flash kernel, where there is a GPU that has it.

torch has it as `torch.nn.attention.varlen.varlen_attn` since 2.10. Its arguments differ from version to version, so
they are read from its signature: causality was a flag before it became a window, grouped queries came later still.
Where a kernel is not to be had (a CPU, a GPU before Ampere, products in float32, heads of an odd or a great width, a
window that this version cannot say) the tiles of `attention.py` do it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from camelid.models.compute import send

WIDEST_HEAD = 256
"""Of flash attention's kernels, whose heads are also a multiple of 8 wide."""
FIRST_CAPABILITY = (8, 0)
"""Ampere."""


class Segments(NamedTuple):
    """Where the segments of a packed row begin and end, as the kernel wants it."""

    ends: Tensor
    """(N + 1,) int32, from 0."""
    longest: int


class Kernel(NamedTuple):
    """The function of the torch that is here, and what it can be told."""

    function: Callable[..., Any]
    parameters: frozenset[str]

    def options(self, window: int | None, heads: int, groups: int) -> dict[str, Any] | None:
        """How to ask for causal attention, within `window` keys where it is given; None where it cannot be said."""
        options: dict[str, Any] = {}
        if "window_size" in self.parameters:
            options["window_size"] = (-1 if window is None else window - 1, 0)  # the query itself is one of the window
        elif "is_causal" in self.parameters and window is None:
            options["is_causal"] = True
        else:
            return None
        if heads != groups and "enable_gqa" in self.parameters:
            options["enable_gqa"] = True
        return options


@lru_cache(maxsize=1)
def kernel() -> Kernel | None:
    """What torch has; None where it has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return Kernel(varlen_attn, frozenset(inspect.signature(varlen_attn).parameters))


def applies(query: Tensor, value: Tensor, segment_lengths: list[int] | None, window: int | None) -> bool:
    """Whether `varlen_attention` can do it. `query`: (1, heads, T, D); `value`: (1, groups, T, D), in its format."""
    if segment_lengths is None or not _on_flash(value.device, value.dtype) or query.shape[-1] != value.shape[-1]:
        return False
    if query.shape[-1] % 8 or query.shape[-1] > WIDEST_HEAD:
        return False
    found = kernel()
    return found is not None and found.options(_within(window, segment_lengths), 1, 1) is not None


def varlen_attention(
    query: Tensor, key: Tensor, value: Tensor, segment_lengths: list[int], scale: float, window: int | None
) -> Tensor:
    """Each segment attends causally to itself.

    `query`: (1, heads, T, D); `key`, `value`: (1, groups, T, D). Returns (1, T, heads, D). Under autocast queries and
    keys come in float32 and values in the compute format.
    """
    found = kernel()
    assert found is not None
    heads, groups = query.shape[1], value.shape[1]
    options = found.options(_within(window, segment_lengths), heads, groups)
    assert options is not None
    q, k, v = (x[0].transpose(0, 1).to(value.dtype) for x in (query, key, value))  # (T, heads, D)
    if heads != groups and "enable_gqa" not in options:
        k, v = (x.repeat_interleave(heads // groups, dim=1) for x in (k, v))
    segments = _segments(tuple(segment_lengths), value.device)
    ends, longest = segments
    return found.function(q, k, v, ends, ends, longest, longest, scale=scale, **options)[None]


def _within(window: int | None, segment_lengths: list[int]) -> int | None:
    """The window, where any segment is longer than it."""
    return window if window is not None and max(segment_lengths) > window else None


@lru_cache(maxsize=8)
def _segments(lengths: tuple[int, ...], device: torch.device) -> Segments:
    """Kept between calls, since all layers ask for the same, in the backward pass again where they are recomputed."""
    ends = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    return Segments(send(ends, device), max(lengths))


@lru_cache(maxsize=8)
def _on_flash(device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    return torch.cuda.get_device_capability(device) >= FIRST_CAPABILITY
