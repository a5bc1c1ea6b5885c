"""The base of rotary position embeddings for a longer context."""

from __future__ import annotations


def ntk_base(base: float, factor: float, width: int) -> float:
    """NTK-aware base, with which the slowest pair of a head turns as if positions were divided by `factor`.

        b' = b s^(d / (d - 2)),  for frequencies b^(-2 i / d), i = 0 ... d / 2 - 1

    The fastest pair, i = 0, turns as before (bloc97 2023; Peng et al. 2023, arXiv:2309.00071, section 3.1, which writes
    d / (d - 2) for |D| / (|D| - 2)). `width`: d, the numbers of a head that are rotated, above 2.
    """
    if width <= 2:
        raise ValueError(f"{width} rotated numbers a head are one frequency; scale linearly")
    return base * factor ** (width / (width - 2))
