"""Attention over a part of the keys: written out, by torch's kernel, and put together again."""

import pytest
import torch

from camelid.models import cached_attention
from camelid.models.cached_attention import MANY_QUERIES, UNSEEN, merged, partial_attention

FEW, MANY = 3, MANY_QUERIES + 5


def drawn(queries: int, keys: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(keys)
    return tuple(torch.randn(2, 3, length, 16) for length in (queries, keys, keys))  # type: ignore[return-value]


def expected(query, key, value, mask):
    scores = query.double() @ key.double().transpose(2, 3) + mask.double()
    return scores.softmax(-1) @ value.double(), scores.logsumexp(-1)


@pytest.mark.parametrize("queries", [FEW, MANY])
def test_values_and_logarithm_of_the_sum(queries):
    query, key, value = drawn(queries, 20)
    mask = torch.zeros(2, 1, 1, 20)
    mask[0, ..., 11:] = UNSEEN
    seen, right = partial_attention(query, key, value, mask), expected(query, key, value, mask)
    for found, wanted in zip(seen, right, strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("queries", [FEW, MANY])
def test_without_a_mask_all_is_seen(queries):
    parts, none = drawn(queries, 7), torch.zeros(2, 1, 1, 7)
    for found, wanted in zip(partial_attention(*parts, None), partial_attention(*parts, none), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("queries", [FEW, MANY])
def test_a_part_of_which_nothing_is_seen_counts_for_nothing(queries):
    query, key, value = drawn(queries, 12)
    nothing = partial_attention(query, key, value, torch.full((2, 1, 1, 12), UNSEEN))
    all_seen = partial_attention(query, key * 2, value + 1, None)
    torch.testing.assert_close(merged(nothing, all_seen), all_seen.values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_agrees_with_what_is_written_out(monkeypatch, dtype):
    query, key, value = (x.to(dtype) for x in drawn(MANY, 33))
    by_kernel = partial_attention(query * 0.25, key, value, None)
    monkeypatch.setattr(cached_attention, "KERNEL", None)
    written = partial_attention(query * 0.25, key, value, None)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for found, wanted in zip(by_kernel, written, strict=True):
        assert found.dtype == wanted.dtype
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
