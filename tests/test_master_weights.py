"""Weights in float32, products in another format: the values and gradients of autograd, added up in place."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from camelid.models import attention
from camelid.models.fused import Gate, RmsNorm, fuse, is_gated_block
from camelid.models.master_weights import hold_master_weights, in_format
from camelid.models.optimizer import OptimizerSettings, Updater


def logits_of(model, ids):
    """Through our own attention, as in training; transformers' own takes no values in another format than the keys."""
    rows, length = ids.shape
    places = torch.arange(length).repeat(rows)[None]
    row = {"input_ids": ids.reshape(1, -1), "position_ids": places, "segment_lengths": [length] * rows}
    return model(**row, use_cache=False).logits.view(rows, length, -1)


def loss_and_gradients(model, ids):
    model.zero_grad()
    logits = logits_of(model, ids).float()
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters()}


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.fixture
def model(llama):
    attention.register()
    return AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32, attn_implementation=attention.NAME).eval()


IDS = torch.arange(3, 35).view(2, 16)


def test_in_float32_loss_and_gradients_are_autograds(model):
    loss, gradients = loss_and_gradients(model, IDS)
    fuse(model.base_model, torch.float32)
    hold_master_weights(model, torch.float32)
    again, ours = loss_and_gradients(model, IDS)
    assert again == pytest.approx(loss, rel=1e-6)
    assert ours.keys() == gradients.keys()
    assert max(distance(ours[name], gradients[name]) for name in gradients) < 1e-5


def test_in_bfloat16_they_are_as_near_to_float32_as_autocasts(model):
    _, exact = loss_and_gradients(model, IDS)
    with torch.autocast("cpu", torch.bfloat16):
        _, theirs = loss_and_gradients(model, IDS)
    fuse(model.base_model, torch.bfloat16)
    hold_master_weights(model, torch.bfloat16)
    _, ours = loss_and_gradients(model, IDS)
    assert all(gradient.dtype == torch.float32 for gradient in ours.values())
    for name in exact:
        assert distance(ours[name], exact[name]) < 1.5 * distance(theirs[name], exact[name]) + 1e-3, name


def test_a_second_batch_is_added_to_the_first(model):
    fuse(model.base_model, torch.float32)
    hold_master_weights(model, torch.float32)
    parts = [loss_and_gradients(model, ids[None])[1] for ids in IDS]
    model.zero_grad()
    for ids in IDS:
        logits = logits_of(model, ids[None])
        torch.nn.functional.cross_entropy(logits[0, :-1], ids[1:]).backward()
    for name, parameter in model.named_parameters():
        assert distance(parameter.grad, parts[0][name] + parts[1][name]) < 1e-5


def test_names_and_saving_know_nothing_of_it(model):
    names = list(model.state_dict())
    fuse(model.base_model, torch.bfloat16)
    hold_master_weights(model, torch.bfloat16)
    loss_and_gradients(model, IDS)
    assert list(model.state_dict()) == names
    assert all(tensor.dtype == torch.float32 for tensor in model.state_dict().values())


def test_a_weight_is_cast_when_it_has_changed():
    weight = nn.Parameter(torch.ones(2, 2))
    first = in_format(weight, torch.bfloat16)
    assert in_format(weight, torch.bfloat16) is first
    weight.grad = torch.ones(2, 2)
    Updater([("w", weight)], OptimizerSettings()).update(0.5)
    second = in_format(weight, torch.bfloat16)
    assert torch.equal(second, weight.detach().bfloat16()) and not torch.equal(second, first)
    with torch.no_grad():
        weight.copy_(torch.full((2, 2), 3.0))  # as a checkpoint is put back
    assert in_format(weight, torch.bfloat16).unique().tolist() == [3.0]
    assert in_format(weight, torch.float32).data_ptr() == weight.data_ptr()


def test_a_bias_trains():
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 2), torch.randn(5, 3)
    layer(x).square().sum().backward()
    expected = layer.bias.grad.clone()
    layer.zero_grad()
    holder = nn.ModuleDict({"layer": layer})
    hold_master_weights(holder, torch.float32)
    layer(x).square().sum().backward()
    torch.testing.assert_close(layer.bias.grad, expected)


def test_norm_and_gate_by_numerical_gradients():
    torch.manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    up = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Gate.apply, (x, up))
    weight = torch.randn(4, requires_grad=True)
    x = torch.randn(2, 3, 4, requires_grad=True)
    wanted = x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight
    given = torch.randn(2, 3, 4)
    expected = torch.autograd.grad(wanted, (x, weight), given)
    ours = RmsNorm.apply(x, weight, 1e-5, None)
    torch.testing.assert_close(ours, wanted)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, weight), given), expected)


def test_what_only_looks_alike_is_left_alone():
    class GemmaRMSNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.eps = nn.Parameter(torch.ones(4)), 1e-6

        def forward(self, x):
            return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * (1 + self.weight)

    class Clipped(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_proj, self.up_proj, self.down_proj = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 4)
            self.act_fn = nn.SiLU()

        def forward(self, x):
            return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x).clamp(max=0.1))

    torch.manual_seed(0)
    decoder = nn.Module()
    decoder.layers = nn.ModuleList([GemmaRMSNorm(), Clipped()])
    fuse(decoder, torch.float32)
    assert not any("forward" in vars(module) for module in decoder.modules())
    assert not is_gated_block(decoder.layers[1])
