"""What the flash kernel for segments is asked, against a stand-in for it and against our tiles; tests/test_cuda.py has
the kernel itself.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from camelid.models import attention as tiles
from camelid.models import varlen_attention
from camelid.models.varlen_attention import Kernel, kernel

LENGTHS = [5, 1, 9, 3]


def by_segment(q: Tensor, k: Tensor, v: Tensor, ends: Tensor, scale: float, window: tuple[int, int]) -> Tensor:
    """What torch documents of `varlen_attn`, a segment at a time: (T, heads, D) each, `window` back and forth."""
    parts = []
    for start, end in zip(ends.tolist(), ends.tolist()[1:], strict=False):
        own = [x[start:end].transpose(0, 1) for x in (q, k, v)]
        distance = torch.arange(end - start)[:, None] - torch.arange(end - start)
        seen = (distance <= window[0] if window[0] >= 0 else True) & (-distance <= window[1])
        parts.append(scaled_dot_product_attention(*own, attn_mask=seen, scale=scale, enable_gqa=True).transpose(0, 1))
    return torch.cat(parts)


def of_211(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1)):
    """As torch 2.11 has it: windows, no grouped queries."""
    assert q.shape == k.shape == v.shape
    assert cu_seq_q.dtype == torch.int32 and torch.equal(cu_seq_q, cu_seq_k) and max_q == max_k == max(LENGTHS)
    return by_segment(q, k, v, cu_seq_q, scale, window_size)


def of_210(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, scale=None):
    """As torch 2.10 has it: a flag and no window."""
    assert is_causal and q.shape == k.shape
    return by_segment(q, k, v, cu_seq_q, scale, (-1, 0))


def of_213(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False):
    """As torch 2.13 has it; equal heads need no flag."""
    assert isinstance(window_size, tuple)  # compared with a tuple inside
    assert enable_gqa == (q.shape[1] != k.shape[1])
    return by_segment(q, k, v, cu_seq_q, scale, window_size)


def use(monkeypatch, function) -> None:
    import inspect

    found = Kernel(function, frozenset(inspect.signature(function).parameters))
    monkeypatch.setattr(varlen_attention, "kernel", lambda: found)
    monkeypatch.setattr(varlen_attention, "_on_flash", lambda device, dtype: True)


def operands(groups: int = 2, width: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, heads, sum(LENGTHS), width, generator=generator, requires_grad=True)
        for heads in (4, groups, groups)
    ]


def attended(parts: list[Tensor], window: int | None) -> tuple[Tensor, list[Tensor]]:
    """Output (1, T, heads, D) of `attention`, and the gradients of its square's sum."""
    found, _ = tiles.attention(None, *parts, None, segment_lengths=LENGTHS, sliding_window=window)
    return found, list(torch.autograd.grad(found.square().sum(), parts))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 3, 9, 20])
@pytest.mark.parametrize("function", [of_211, of_213])
def test_the_kernel_is_asked_for_what_the_tiles_compute(monkeypatch, function, window, groups):
    parts = operands(groups)
    expected, slopes = attended(parts, window)
    use(monkeypatch, function)
    got, own = attended(parts, window)
    assert got.shape == expected.shape == (1, sum(LENGTHS), 4, 8)
    torch.testing.assert_close(got, expected)
    for a, b in zip(own, slopes, strict=True):
        torch.testing.assert_close(a, b)


def test_a_version_without_windows_is_asked_where_none_is_needed(monkeypatch):
    parts = operands()
    expected = [attended(parts, window)[0] for window in (None, 9, 3)]
    asked = []

    def counted(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, scale=None):
        asked.append(max_q)
        return of_210(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, is_causal, scale)

    use(monkeypatch, counted)
    for window, known in zip((None, 9, 3), expected, strict=True):  # the longest segment has 9: only 3 cuts anything
        torch.testing.assert_close(attended(parts, window)[0], known)
    assert asked == [9, 9]


def test_ends_are_made_once_for_all_layers(monkeypatch):
    use(monkeypatch, of_213)
    varlen_attention._segments.cache_clear()
    for _ in range(3):
        attended(operands(), None)
    assert varlen_attention._segments.cache_info().misses == 1


@pytest.mark.parametrize("width", [12, 264])
def test_heads_that_the_kernel_has_not_go_by_tiles(monkeypatch, width):
    use(monkeypatch, lambda *_, **__: pytest.fail("asked"))
    attended(operands(width=width), None)


def test_a_cpu_keeps_its_tiles():
    query = torch.zeros(1, 4, 3, 8, dtype=torch.bfloat16)
    assert not varlen_attention.applies(query, query, [3], None)


def test_the_installed_torch_can_be_asked():
    """2.11 is the oldest that we run on: it has windows."""
    found = kernel()
    assert found is not None
    assert {"scale", "window_size"} <= found.parameters
    assert found.options(None, 4, 4) == {"window_size": (-1, 0)}
    assert found.options(3, 4, 4) == {"window_size": (2, 0)}
