"""Weights in another order give the same products, and are gone afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.activations import SiLUActivation
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from camelid.models.reordered import reordered


@pytest.fixture(params=["chain", "block", "block with biases"])
def model(request) -> nn.Sequential:
    torch.manual_seed(0)
    if request.param == "chain":
        return nn.Sequential(nn.Linear(24, 40), nn.SiLU(), nn.Linear(40, 24, bias=False))
    config = LlamaConfig(
        hidden_size=24, num_attention_heads=2, intermediate_size=40, mlp_bias=request.param.endswith("biases")
    )
    return nn.Sequential(nn.LayerNorm(24), LlamaMLP(config))


def replaced(model: nn.Module) -> list[nn.Module]:
    return [layer for layer in model.modules() if "forward" in vars(layer)]


@pytest.mark.parametrize("shape", [(5, 24), (2, 7, 24), (64, 24)])
def test_products_are_the_same_for_any_number_of_rows(model, shape):
    x = torch.randn(shape)
    with torch.inference_mode():
        plain = model(x)
        with reordered(model, 64):
            assert len(replaced(model)) >= 2  # or this would compare a thing with itself
            torch.testing.assert_close(model(x), plain, rtol=1e-5, atol=1e-6)


def test_a_gated_block_is_one_stand_in_and_only_where_its_activation_is_silu():
    block = LlamaMLP(LlamaConfig(hidden_size=24, num_attention_heads=2, intermediate_size=40, hidden_act="silu"))
    assert isinstance(block.act_fn, SiLUActivation)
    x = torch.randn(6, 24)
    with torch.inference_mode(), reordered(block, 64):
        assert "forward" in vars(block)
    other = LlamaMLP(LlamaConfig(hidden_size=24, num_attention_heads=2, intermediate_size=40, hidden_act="gelu"))
    with torch.inference_mode():
        plain = other(x)
        with reordered(other, 64):
            assert "forward" not in vars(other)
            torch.testing.assert_close(other(x), plain, rtol=1e-5, atol=1e-6)


def test_products_in_bfloat16_leave_float32_outside(model):
    x = torch.randn(64, 24)
    with torch.inference_mode():
        plain = model(x)
        with reordered(model, 64, torch.bfloat16):
            coarse = model(x)
    assert coarse.dtype == torch.float32
    error = (coarse - plain).square().mean().sqrt() / plain.square().mean().sqrt()
    assert 1e-4 < error < 1e-2  # eight bits: half a unit in the last place is 2e-3


def test_the_model_is_itself_again_even_after_an_error(model):
    with pytest.raises(ZeroDivisionError), reordered(model, 64):
        raise ZeroDivisionError
    assert not replaced(model)


@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="this processor does not multiply bfloat16")
def test_a_model_in_bfloat16_stays_in_bfloat16(model):
    model, x = model.to(torch.bfloat16), torch.randn(64, 24).bfloat16()
    with torch.inference_mode():
        plain = model(x)
        with reordered(model, 64):
            assert len(replaced(model)) >= 2
            torch.testing.assert_close(model(x), plain, rtol=2e-2, atol=2e-2)
