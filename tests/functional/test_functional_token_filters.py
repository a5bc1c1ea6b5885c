"""Filters of the next token's distribution, against transformers' and against what they are by definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import RepetitionPenaltyLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from camelid.functional.token_filters import penalise_repetition, top_k, top_p


def logits(seed: int, size: int = 500) -> torch.Tensor:
    return 4 * torch.randn(size, generator=torch.Generator().manual_seed(seed))


def kept_by(warper, scores: torch.Tensor) -> torch.Tensor:
    return torch.isfinite(warper(torch.zeros(1, 1, dtype=torch.long), scores[None])[0])


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("seed", range(3))
def test_top_p_keeps_what_transformers_keeps(p, seed):
    scores = logits(seed)
    weights = (scores - scores.max()).exp()
    found = top_p(weights, p)
    assert torch.equal(found > 0, kept_by(TopPLogitsWarper(p), scores))
    assert torch.equal(found[found > 0], weights[found > 0])


@pytest.mark.parametrize("k", [1, 7, 499, 500, 900])
def test_top_k_keeps_what_transformers_keeps(k):
    scores = logits(k)
    weights = (scores - scores.max()).exp()
    assert torch.equal(top_k(weights, k) > 0, kept_by(TopKLogitsWarper(k), scores))


def test_equals_of_the_last_one_stay():
    assert top_k(torch.tensor([0.1, 0.4, 0.1, 0.4]), 3).tolist() == pytest.approx([0.1, 0.4, 0.1, 0.4])


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.floats(0.001, 0.999))
def test_the_nucleus_has_p_and_no_smaller_set_has(values, p):
    weights = torch.tensor([*values, 1.0])
    kept = top_p(weights, p)
    share = (kept.double().sum() / weights.double().sum()).item()
    assert share >= p - 1e-6
    least = kept[kept > 0].min()
    assert (kept.double().sum() - least) / weights.double().sum() < p + 1e-6
    assert not (weights[kept == 0] > least).any()  # whatever is dropped is no likelier than anything that stays


@pytest.mark.parametrize("penalty", [1.0, 1.3, 5.0])
def test_repetition_is_penalised_as_transformers_does(penalty):
    scores, seen = logits(0), torch.tensor([3, 7, 7, 450, 3])
    expected = RepetitionPenaltyLogitsProcessor(penalty)(seen[None], scores[None].clone())[0]
    torch.testing.assert_close(penalise_repetition(scores, seen, penalty), expected)
