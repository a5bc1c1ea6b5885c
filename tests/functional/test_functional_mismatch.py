"""How far engine and trainer are apart, and weights that make up for it."""

from __future__ import annotations

import math

import pytest
import torch

from camelid.functional.mismatch import mismatch, truncated_importance_weights

MASK = torch.tensor([[True, True, False]])


def test_equal_models_do_not_differ():
    logprobs = torch.tensor([[-1.0, -2.0, math.nan]])
    assert mismatch(logprobs, logprobs, MASK) == (0.0, 0.0, 0.0)
    assert truncated_importance_weights(logprobs, logprobs, MASK, limit=2.0).tolist() == [[1, 1, 1]]


def test_by_hand():
    drawn, logprobs = torch.tensor([[0.2, 0.5, 9.0]]).log(), torch.tensor([[0.1, 0.75, math.inf]]).log()
    found = mismatch(drawn, logprobs, MASK)
    assert found.mean == pytest.approx((math.log(2) + math.log(1.5)) / 2)
    assert found.worst == pytest.approx(math.log(2))
    assert found.kl == pytest.approx(((0.5 - 1 + math.log(2)) + (1.5 - 1 - math.log(1.5))) / 2)
    weights = truncated_importance_weights(drawn, logprobs, MASK, limit=1.2)
    assert weights[0].tolist() == pytest.approx([0.5, 1.2, 1.0])


def test_the_kl_is_that_of_the_distributions():
    """In the mean over what the engine draws."""
    mu, pi = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, 0.4, 0.2])
    tokens = torch.multinomial(mu, 200_000, replacement=True, generator=torch.Generator().manual_seed(0))[None]
    found = mismatch(mu.log()[tokens], pi.log()[tokens], torch.ones_like(tokens, dtype=torch.bool))
    assert found.kl == pytest.approx(float((mu * (mu / pi).log()).sum()), rel=0.02)


def test_weights_turn_means_of_the_engine_into_the_trainers():
    """Truncated where none is above the limit, they change nothing: E_mu[w f] = E_pi[f]."""
    mu, pi, f = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, 0.4, 0.2]), torch.tensor([1.0, -2.0, 5.0])
    tokens = torch.arange(3)[None]
    weights = truncated_importance_weights(mu.log()[tokens], pi.log()[tokens], tokens >= 0, limit=2.0)
    assert float((mu * weights[0] * f).sum()) == pytest.approx(float((pi * f).sum()))


def test_no_gradient_and_no_weights_from_nothing():
    logprobs = torch.zeros(1, 3, requires_grad=True)
    assert not truncated_importance_weights(torch.zeros(1, 3), logprobs, MASK, limit=2.0).requires_grad
    unknown = torch.full((1, 3), math.nan)
    assert math.isnan(mismatch(unknown, torch.zeros(1, 3), MASK).kl)
    with pytest.raises(ValueError, match="set importance_limit=0"):
        truncated_importance_weights(unknown, torch.zeros(1, 3), MASK, limit=2.0)
