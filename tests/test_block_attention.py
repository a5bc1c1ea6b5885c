"""Attention by blocks with its own backward pass, against attention written out in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from camelid.models import attention, block_attention

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def written_out(query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None) -> Tensor:
    """Plain operations in the inputs' format: (S, L, heads, D) and twice (S, L, groups, D)."""
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    distance = torch.arange(q.shape[2])[:, None] - torch.arange(q.shape[2])
    hidden = (distance < 0) | (distance >= (window or q.shape[2]))
    weights = ((q * scale) @ k.transpose(2, 3)).masked_fill(hidden, float("-inf")).softmax(-1)
    return (weights @ v).transpose(1, 2)


def draw(rows: int, length: int, groups: int, share: int, width: int = 16, seed: int = 0) -> Inputs:
    """Queries, keys, values and the gradient of what comes out."""
    make = torch.Generator().manual_seed(seed)
    heads = [groups * share, groups, groups, groups * share]
    q, k, v, g = (torch.randn(rows, length, n, width, generator=make, dtype=torch.float64) for n in heads)
    return q, k, v, g


def both_ways(function, inputs: Inputs, dtype: torch.dtype, window: int | None) -> list[Tensor]:
    """The output and the gradients of queries, keys and values."""
    q, k, v, g = (x.to(dtype) for x in inputs)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    out = function(*leaves, 0.3, window)
    return [out, *torch.autograd.grad(out, leaves, g)]


def distances(got: list[Tensor], wanted: list[Tensor]) -> list[float]:
    return [((a.double() - b.double()).norm() / b.double().norm()).item() for a, b in zip(got, wanted, strict=True)]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 3),
    length=st.integers(2, 90),  # one token weighs 1, whatever its key: a gradient of 0 has no relative error
    groups=st.integers(1, 3),
    share=st.integers(1, 3),
    window=st.none() | st.integers(2, 100),
    column=st.sampled_from([32, 64, 512]),
    kept=st.sampled_from([0, 256]),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_those_of_attention_written_out(
    rows, length, groups, share, window, column, kept, seed
):
    """Blocks of 4, 8 and 64 queries in float64; float32 to 1e-5 relative, float64 to its own rounding."""
    inputs = draw(rows, length, groups, share, seed=seed)
    wanted = both_ways(written_out, inputs, torch.float64, window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_attention, "COLUMN", column)
        patch.setattr(block_attention, "KEPT_BELOW", kept)
        exact = both_ways(block_attention.block_attention, inputs, torch.float64, window)
        rough = both_ways(block_attention.block_attention, inputs, torch.float32, window)
    assert max(distances(exact, wanted)) < 1e-13
    assert max(distances(rough, wanted)) < 1e-5


@pytest.mark.parametrize(("length", "window"), [(94, None), (256, None), (700, None), (700, 100)])
def test_in_bfloat16_as_near_to_float64_as_attention_written_out(length, window):
    """Up to 256 tokens the roundings are the same; parts of dK and dV are rounded once more where blocks are summed."""
    inputs = tuple(x.bfloat16().double() for x in draw(1, length, 3, 3, width=64))
    wanted = both_ways(written_out, inputs, torch.float64, window)
    plain = distances(both_ways(written_out, inputs, torch.bfloat16, window), wanted)
    ours = distances(both_ways(block_attention.block_attention, inputs, torch.bfloat16, window), wanted)
    for a, b in zip(ours, plain, strict=True):
        assert a < (1.02 if length <= 256 else 1.25) * b


def test_the_backward_pass_is_the_derivative():
    """By differences, in float64, with blocks of 2 queries, a window, and two segments."""
    q, k, v, _ = draw(2, 7, 2, 2, width=4)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_attention, "COLUMN", 16)
        patch.setattr(block_attention, "KEPT_BELOW", 0)
        assert torch.autograd.gradcheck(lambda *x: block_attention.block_attention(*x, 0.5, 3), leaves)


def test_far_values_neither_overflow_nor_reach_a_query_that_does_not_see_them():
    """Scores near 1e5 in bfloat16; whatever stands behind a query does not touch it."""
    q, k, v, _ = (x.bfloat16() for x in draw(1, 40, 1, 2))
    out = block_attention.block_attention(q * 300, k * 300, v, 1.0)
    assert out.isfinite().all()
    changed = v.clone()
    changed[:, 30:] = 1e30
    again = block_attention.block_attention(q * 300, k * 300, changed, 1.0)
    assert torch.equal(again[:, :30], out[:, :30])


def test_inputs_are_left_as_they_were_and_nothing_of_the_square_is_kept():
    """One group makes its layout a view of the query's. Of 300 tokens queries, keys and values alone are kept."""
    q, k, v, _ = (x.float() for x in draw(1, 300, 1, 2))
    before = [x.clone() for x in (q, k, v)]
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        out = block_attention.block_attention(q.requires_grad_(), k, v, 0.3)
    out.sum().backward()
    assert all(torch.equal(a, b) for a, b in zip((q, k, v), before, strict=True))
    assert kept == [300 * 2 * 16, 300 * 16, 300 * 16]


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(2, 40), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_packed_segments_have_the_attention_of_each_by_itself(lengths, seed):
    """Through the function that transformers calls: tiles of several segments, segments alone, one segment in all."""
    inputs = draw(1, sum(lengths), 2, 2, seed=seed)

    def packed(q, k, v, scale, window):
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return attention.attention(None, q, k, v, None, scaling=scale, sliding_window=window, segment_lengths=lengths)[
            0
        ]

    def by_itself(q, k, v, scale, window):
        ends = [0, *itertools.accumulate(lengths)]
        parts = [[x[:, a:b] for x in (q, k, v)] for a, b in itertools.pairwise(ends)]
        return torch.cat([written_out(*part, scale, window) for part in parts], 1)

    for window in (None, 11):
        wanted = both_ways(by_itself, inputs, torch.float64, window)
        assert max(distances(both_ways(packed, inputs, torch.float64, window), wanted)) < 1e-13
