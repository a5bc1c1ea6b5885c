"""Attention over packed segments: a kernel call a segment against tiles of like segments, as training uses them.

    python benchmarks/attention.py [--segments 20] [--repeats 12]

Prints the least and the median milliseconds of one layer of SmolLM2's shape (9 heads of 64, 3 for keys) in bfloat16.
The variants alternate, so that a busy machine slows all of them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from camelid.models.attention import attention

HEADS, GROUPS, WIDTH = 9, 3, 64


def kernel_a_segment(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    """The kernel in float32, once for every segment."""
    ends = torch.tensor([0, *lengths]).cumsum(0).tolist()
    parts = [
        scaled_dot_product_attention(
            *(x[:, :, start:end].float() for x in (query, key, value)), is_causal=True, enable_gqa=True
        )
        for start, end in pairwise(ends)
    ]
    return torch.cat(parts, 2).transpose(1, 2).to(query.dtype)


def tiles(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    """camelid's."""
    return attention(None, query, key, value, None, segment_lengths=lengths)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=12)
    chosen = parser.parse_args()
    draw = random.Random(0)
    lengths = [draw.randint(50, 140) for _ in range(chosen.segments)]

    def packed(heads: int) -> Tensor:
        return torch.randn(1, sum(lengths), heads, WIDTH).bfloat16().transpose(1, 2).requires_grad_()

    query, key, value = packed(HEADS), packed(GROUPS), packed(GROUPS)
    gradient = torch.randn(1, sum(lengths), HEADS, WIDTH).bfloat16()
    times: dict[tuple[str, str], list[float]] = {}
    for repeat in range(chosen.repeats + 2):
        for variant in (kernel_a_segment, tiles):
            start = time.perf_counter()
            attended = variant(query, key, value, lengths)
            middle = time.perf_counter()
            attended.backward(gradient)
            end = time.perf_counter()
            if repeat >= 2:
                times.setdefault((variant.__name__, "forward"), []).append(middle - start)
                times.setdefault((variant.__name__, "forward and backward"), []).append(end - start)
    print(f"{chosen.segments} segments, {sum(lengths)} tokens, n = {chosen.repeats}, milliseconds a layer")
    for (name, what), seconds in times.items():
        print(f"{name:18} {what:22} least {min(seconds) * 1e3:6.1f}  median {statistics.median(seconds) * 1e3:6.1f}")


if __name__ == "__main__":
    main()
