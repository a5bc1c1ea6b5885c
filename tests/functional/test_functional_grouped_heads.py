"""Pooling of key-value heads, by hand."""

from __future__ import annotations

import pytest
import torch

from camelid.functional.grouped_heads import pool_heads


def test_neighbours_are_averaged():
    """Four heads of width 2 and one input, rows 1 2 | 3 4 | 5 6 | 7 8: groups (1+3)/2 (2+4)/2 | (5+7)/2 (6+8)/2."""
    weight = torch.arange(1.0, 9.0)[:, None]
    assert pool_heads(weight, 4, 2).tolist() == [[2], [3], [6], [7]]
    assert pool_heads(weight, 4, 1).tolist() == [[4], [5]]
    assert pool_heads(weight[:, 0], 4, 2).tolist() == [2, 3, 6, 7]  # a bias


def test_as_many_groups_as_heads_is_the_identity_in_every_format():
    for dtype in (torch.float32, torch.bfloat16):
        weight = torch.randn(12, 5).to(dtype)
        pooled = pool_heads(weight, 3, 3)
        assert torch.equal(pooled, weight) and pooled.dtype == dtype


def test_pooling_in_two_steps_is_pooling_at_once():
    weight = torch.randn(24, 7)
    torch.testing.assert_close(pool_heads(pool_heads(weight, 8, 4), 4, 2), pool_heads(weight, 8, 2))


@pytest.mark.parametrize("groups", [0, -1, 4, 12])
def test_a_number_that_does_not_divide_is_an_error_that_names_those_that_do(groups):
    with pytest.raises(ValueError, match="1, 2, 3, 6 can"):
        pool_heads(torch.zeros(12, 1), 6, groups)


def test_a_weight_without_so_many_heads_is_an_error():
    with pytest.raises(ValueError, match="7 rows has no 2 heads"):
        pool_heads(torch.zeros(7, 1), 2, 1)
