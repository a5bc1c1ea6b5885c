"""Weights in another order give the same products, and are gone afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camelid.models.reordered import reordered


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 40), nn.SiLU(), nn.Linear(40, 8, bias=False))


@pytest.mark.parametrize("shape", [(5, 24), (2, 7, 24), (64, 24)])
def test_products_are_the_same_for_any_number_of_rows(model, shape):
    x = torch.randn(shape)
    with torch.inference_mode():
        plain = model(x)
        with reordered(model, 64):
            assert "forward" in vars(model[0])  # or this would compare a thing with itself
            torch.testing.assert_close(model(x), plain, rtol=1e-5, atol=1e-6)


def test_the_model_is_itself_again_even_after_an_error(model):
    with pytest.raises(ZeroDivisionError), reordered(model, 64):
        raise ZeroDivisionError
    assert not any("forward" in vars(layer) for layer in model)


def test_bfloat16_is_left_alone(model):
    model = model.to(torch.bfloat16)
    with reordered(model, 64):
        assert not any("forward" in vars(layer) for layer in model)
