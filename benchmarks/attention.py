"""Causal attention of training on a CPU: blocks with their backward pass by hand, against what stood here before.

    python benchmarks/attention.py [--lengths 32,94,200,256,512,1024] [--tokens 1024] [--format bfloat16] [--repeats 12]

For each length, as many segments as fill the tokens, with the attention of one layer of SmolLM2 (9 heads of 64, 3 for
keys): the median and the least milliseconds of forward without gradient, forward, and backward; the bytes kept for the
backward pass and the most that are alive during it. The variants alternate, so that a busy machine slows all of them.
The last line stands for real batches: segments of 50 to 400 tokens, through the function that transformers calls.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile

from camelid.models.attention import attention
from camelid.models.block_attention import block_attention

HEADS, GROUPS, WIDTH = 9, 3, 64
Attention = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def before(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Until November 2026: scores written out up to 256 tokens, above that torch's kernel in float32."""
    rows, length, heads, width = query.shape
    groups = key.shape[2]
    if length > 256:
        q, k, v = (x.transpose(1, 2).float() for x in (query, key, value))
        out = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
        return out.transpose(1, 2).to(query.dtype)
    hidden = torch.full((length, length), float("-inf"), dtype=query.dtype).triu(1)
    queries = query.view(rows, length, groups, -1, width).permute(0, 2, 3, 1, 4).reshape(rows, groups, -1, width)
    scores = ((queries * scale) @ key.permute(0, 2, 3, 1)).view(rows, groups, -1, length, length)
    weights = scores.add_(hidden).softmax(-1).view(rows, groups, -1, length)
    out = (weights @ value.transpose(1, 2)).view(rows, groups, -1, length, width)
    return out.permute(0, 3, 1, 2, 4).reshape(rows, length, heads, width)


def kernel_a_segment(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    """Packed rows (1, heads, T, D) -> (1, T, heads, D): the kernel in float32, once for every segment."""
    ends = torch.tensor([0, *lengths]).cumsum(0).tolist()
    parts = [
        scaled_dot_product_attention(
            *(x[:, :, start:end].float() for x in (query, key, value)), is_causal=True, enable_gqa=True
        )
        for start, end in pairwise(ends)
    ]
    return torch.cat(parts, 2).transpose(1, 2).to(query.dtype)


def draw(rows: int, length: int, dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys, values, and the gradient of what comes out."""
    heads = (HEADS, GROUPS, GROUPS, HEADS)
    return [torch.randn(rows, length, n, WIDTH).to(dtype).requires_grad_(i < 3) for i, n in enumerate(heads)]


def timed(
    variants: dict[str, Callable[..., Tensor]], inputs: list[Tensor], repeats: int
) -> dict[str, list[list[float]]]:
    """Of each variant the seconds of forward without gradient, forward, backward, of each repeat."""
    *leaves, gradient = inputs
    times: dict[str, list[list[float]]] = {name: [] for name in variants}
    for repeat in range(repeats + 2):
        for name, variant in variants.items():
            clock = [time.perf_counter()]
            with torch.no_grad():
                variant(*leaves)
            clock.append(time.perf_counter())
            out = variant(*leaves)
            clock.append(time.perf_counter())
            torch.autograd.grad(out, leaves, gradient)
            clock.append(time.perf_counter())
            if repeat >= 2:
                times[name].append([b - a for a, b in pairwise(clock)])
    return times


def kept_and_peak(variant: Callable[..., Tensor], inputs: list[Tensor]) -> tuple[int, int]:
    """Bytes that live between forward and backward beside inputs and output, and the most that live in backward."""
    *leaves, gradient = inputs
    kept: dict[int, int] = {}
    given = {x.untyped_storage().data_ptr() for x in leaves}

    def pack(x: Tensor) -> Tensor:
        if x.untyped_storage().data_ptr() not in given:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = variant(*leaves)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        torch.autograd.grad(out, leaves, gradient)
    events = profiler.profiler.kineto_results.events()
    alive = most = sum(kept.values())
    for _, number in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
        alive += number
        most = max(most, alive)
    return sum(kept.values()), most


def report(title: str, variants: dict[str, Callable[..., Tensor]], inputs: list[Tensor], repeats: int) -> None:
    print(title)
    for name, seconds in timed(variants, inputs, repeats).items():
        columns = [*zip(*seconds, strict=True), [row[1] + row[2] for row in seconds]]
        shown = "  ".join(f"{statistics.median(c) * 1e3:7.2f} ({min(c) * 1e3:6.2f})" for c in columns)
        kept, most = kept_and_peak(variants[name], inputs)
        print(f"  {name:18} {shown}  {kept / 2**20:6.2f} {most / 2**20:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="32,94,200,256,512,1024")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--format", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--repeats", type=int, default=12)
    chosen = parser.parse_args()
    dtype, scale = getattr(torch, chosen.format), WIDTH**-0.5
    print(f"{chosen.format}, n = {chosen.repeats}, milliseconds a layer: median (least)")
    print("                     without gradient        forward         backward         both       MiB kept, at most")
    for length in map(int, chosen.lengths.split(",")):
        rows = max(chosen.tokens // length, 1)
        tiles = {f.__name__: (lambda q, k, v, f=f: f(q, k, v, scale)) for f in (before, block_attention)}
        report(f"{rows} segments of {length}", tiles, draw(rows, length, dtype), chosen.repeats)
    choose = random.Random(0)
    lengths = [choose.randint(50, 400) for _ in range(max(chosen.tokens // 225, 1))]

    def packed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return attention(None, q, k, v, None, segment_lengths=lengths)[0]

    def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return kernel_a_segment(*(x.transpose(1, 2) for x in (q, k, v)), lengths)

    report(
        f"a row of {lengths}",
        {"kernel_a_segment": kernel, "packed": packed},
        draw(1, sum(lengths), dtype),
        chosen.repeats,
    )


if __name__ == "__main__":
    main()
