"""Residual dropout whose probability rises with the layer, drawn from named streams of random bits."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 1 << 16
"""Probabilities are multiples of 1 / LEVELS: sixteen random bits a number take a sixth of the time of a float."""


def layer_probabilities(num_layers: int, highest: float) -> list[float]:
    """p of layer l = highest * l / (L - 1): 0 at the first layer, `highest` at the last (one layer alone has 0).

    LIMA raises it so from 0.0 to 0.3 (Zhou et al. 2023, arXiv:2305.11206, section 3). Raises ValueError unless
    0 <= highest < 1: at 1 the last layer would be cut out.
    """
    if not 0 <= highest < 1:
        raise ValueError(f"a dropout of {highest}: need at least 0 and less than 1")
    return [highest * layer / max(num_layers - 1, 1) for layer in range(num_layers)]


def random_bits(seed: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Independent uniform int16 of this shape, the same for the same seed on the same kind of device."""
    generator = torch.Generator(device).manual_seed(seed)
    number = torch.Size(shape).numel()
    words = torch.empty(-(-number // 4), dtype=torch.int64, device=device)
    return words.random_(-(1 << 63), None, generator=generator).view(torch.int16)[:number].view(shape)


def drop(x: Tensor, bits: Tensor, p: float) -> Tensor:
    """Inverted dropout (Srivastava et al. 2014, section 10), unbiased: E[y] = x.

        y = x [u >= p] / (1 - p),    u = (bits + 32768) / 65536 uniform on [0, 1)

    `p` is rounded to a multiple of 1 / 65536, in the scale too. `x`: any shape and format; `bits`: int16, as `x`.
    """
    level = min(round(p * LEVELS), LEVELS - 1)
    # masked_fill keeps a byte a number for the backward pass; a product would keep a mask in the format of x.
    return x.masked_fill(bits < level - LEVELS // 2, 0) * (LEVELS / (LEVELS - level))
