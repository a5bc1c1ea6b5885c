"""Adapters: the identity at first, removable, mergeable, and the only thing that trains."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from camelid.models.lora import Adapter, LoraLinear, adapters_off, lora_layers, merged_state
from camelid.models.lora_targets import add_lora
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy

IDS = torch.arange(3, 23)[None]


@pytest.fixture
def base(llama):
    return AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).requires_grad_(False)


def adapted(base: nn.Module, *, first_layer: int = 0, seed: int = 0) -> nn.Module:
    model = copy.deepcopy(base)
    add_lora(model.base_model.layers, rank=4, alpha=8.0, first_layer=first_layer, seed=seed)
    return model


def stir(model: nn.Module) -> None:
    """As if it had been trained: no adapter is the identity any more."""
    generator = torch.Generator().manual_seed(1)
    for _, layer in lora_layers(model):
        layer.adapter.lora_b.data.normal_(std=0.3, generator=generator)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(IDS).logits


def test_an_adapter_computes_the_papers_formula():
    """Rank 1, alpha 3: W x + 3 B A x. W = [[1, 2]], A = [[1, -1]], B = [[2]], x = (5, 3): 11 + 3 * 2 * 2 = 23."""
    linear = nn.Linear(2, 1, bias=False)
    linear.weight.data = torch.tensor([[1.0, 2.0]])
    layer = LoraLinear(linear)
    layer.add("trained", Adapter(torch.tensor([[1.0, -1.0]]), torch.tensor([[2.0]]), scale=3.0))
    assert layer(torch.tensor([5.0, 3.0])).item() == 23.0
    assert layer.merged_weight().tolist() == [[7.0, -4.0]]  # 1 + 3*2*1, 2 - 3*2*1
    assert nn.functional.linear(torch.tensor([5.0, 3.0]), layer.merged_weight()).item() == 23.0


def test_adapters_start_as_the_identity_on_every_linear_layer(base):
    model = adapted(base)
    names = [name for name, _ in lora_layers(model)]
    assert len(names) == 2 * 7  # q, k, v, o, gate, up, down in each of two layers
    assert torch.equal(logits(model), logits(base))


def test_adapters_can_be_switched_off_and_come_back_after_an_error(base):
    model = adapted(base)
    stir(model)
    with_adapters = logits(model)
    assert (with_adapters - logits(base)).abs().max() > 0.1
    with pytest.raises(ZeroDivisionError), adapters_off(model):
        assert torch.equal(logits(model), logits(base))
        raise ZeroDivisionError
    assert torch.equal(logits(model), with_adapters)


def test_merged_weights_have_the_base_models_names_and_the_adapters_logits(base):
    model = adapted(base, first_layer=1)
    stir(model)
    state = merged_state(model, torch.float32)
    assert state.keys() == base.state_dict().keys()
    changed = {name for name, tensor in base.state_dict().items() if not torch.equal(tensor, state[name])}
    assert changed == {f"{name}.weight" for name, _ in lora_layers(model)}
    merged = copy.deepcopy(base)
    merged.load_state_dict(state)
    torch.testing.assert_close(logits(merged), logits(model), atol=1e-4, rtol=0)


def test_biases_of_adapted_layers_survive_merging():
    model = nn.Module()
    model.layers = nn.ModuleList([nn.Sequential(nn.Linear(3, 2))])
    bias = model.layers[0][0].bias.clone()
    add_lora(model.layers, rank=1, alpha=1.0, first_layer=0, seed=0)
    state = merged_state(model, torch.float32)
    assert state.keys() == {"layers.0.0.weight", "layers.0.0.bias"}
    assert torch.equal(state["layers.0.0.bias"], bias)


def test_the_same_seed_draws_the_same_adapters(base):
    a, b, c = (adapted(base, seed=seed).state_dict() for seed in (0, 0, 1))
    name = "model.layers.1.mlp.up_proj.adapters.trained.lora_a"
    assert torch.equal(a[name], b[name])
    assert not torch.equal(a[name], c[name])
    # Kaiming-uniform with slope sqrt(5): within 1 / sqrt(32) for 32 inputs.
    assert a[name].abs().max() <= 32**-0.5
    assert a[name].std() == pytest.approx(32**-0.5 / 3**0.5, rel=0.15)


@pytest.mark.parametrize("first_layer", [0, 1])
def test_only_adapters_have_gradients_and_none_below_the_first_layer(llama, first_layer):
    settings = ModelSettings(precision="float32", lora_rank=4, lora_first_layer=first_layer)
    policy = Policy.load_for_training(llama, settings, OptimizerSettings(), seed=0)
    stir(policy.model)
    reached = []
    for number, layer in enumerate(policy.model.base_model.layers):
        layer.mlp.down_proj.register_full_backward_hook(lambda *_, number=number: reached.append(number))
    policy.model(IDS, segment_lengths=[20]).logits.logsumexp(-1).sum().backward()
    with_gradient = {name for name, p in policy.model.named_parameters() if p.grad is not None}
    assert with_gradient == policy.updater.named.keys()
    assert all(name.endswith(("lora_a", "lora_b")) for name in with_gradient)
    assert len(with_gradient) == 2 * 7 * (2 - first_layer)
    assert sorted(reached) == list(range(first_layer, 2))  # backward does no work below


def test_no_layer_left_for_adapters_is_an_error(tied_llama):
    with pytest.raises(ValueError, match="`lora_first_layer` must be below the number of layers"):
        Policy.load_for_training(tied_llama, ModelSettings(lora_first_layer=2), OptimizerSettings(), seed=0)
