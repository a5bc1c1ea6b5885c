"""Residual dropout: where it acts, when, and that it depends on nothing but the rows' seeds."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from camelid.functional.residual_dropout import drop, random_bits
from camelid.models import residual_dropout
from camelid.models.batch import Row
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.residual_dropout import ResidualDropout
from camelid.runs import Stage, derived_seed, execute, read_manifest
from camelid.train.sft import SftSettings, train_sft
from camelid.types import Conversation, Message, write_records
from test_batch import random_rows, sft
from test_policy import trainable
from tiny import write_tiny_llama

P = 0.4


def policy_with_dropout(folder, *, rank: int = 0, tokens: int = 64, highest: float = P) -> Policy:
    policy = trainable(folder, rank=rank)
    policy.settings = policy.settings.model_copy(update={"micro_batch_tokens": tokens})
    policy.add_residual_dropout(highest)
    return policy


def gradients(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in policy._training().named.items() if p.grad is not None}


def test_a_layer_adds_what_the_formula_says(tied_llama):
    """One row through the top layer of two by hand: h + drop(attention), then h + drop(MLP), with p = 0.4."""
    policy = policy_with_dropout(tied_llama)
    ids = list(range(5, 17))
    row = Row(ids, [False] + [True] * 11)
    seen = {}
    layer = policy.trunk.model.layers[1]
    layer.register_forward_hook(lambda module, inputs, output: seen.update(into=inputs[0], out=output))
    layer.self_attn.register_forward_hook(lambda module, inputs, output: seen.update(attention=output[0]))
    policy.forward_backward([row], sft, dropout_seeds=[11])  # hooks see what the hooks before them left

    def bits(place):
        return random_bits(derived_seed(11, 1, place), (12, 32), torch.device("cpu"))

    with torch.no_grad():
        positions = torch.arange(12)[None]
        turned = policy.trunk.model.rotary_emb(seen["into"], positions)
        normed = layer.input_layernorm(seen["into"])
        plain, _ = layer.self_attn(normed, position_embeddings=turned, segment_lengths=[12])
        attended = drop(plain, bits(0)[None], P)
        middle = seen["into"] + attended
        expected = middle + drop(layer.mlp(layer.post_attention_layernorm(middle)), bits(1)[None], P)
    torch.testing.assert_close(seen["out"], expected)
    # A bit below -32768 + 0.4 * 65536 = -6554 (rounded from -6553.6) is dropped.
    assert torch.equal(attended == 0, bits(0)[None] < -6554)


@pytest.mark.parametrize(
    "architecture", ["LlamaForCausalLM", "Qwen3ForCausalLM", "Gemma2ForCausalLM", "Olmo2ForCausalLM"]
)
def test_all_that_a_layer_adds_goes_through_dropout(tmp_path, monkeypatch, architecture):
    """With everything dropped a layer is the identity; the first layer, where p = 0, still is not."""
    monkeypatch.setattr(residual_dropout, "drop", lambda x, bits, p: x * 0)
    changes = {"head_dim": 8, "final_logit_softcapping": None, "attn_logit_softcapping": None}
    folder = write_tiny_llama(tmp_path / "model", architecture=architecture, num_hidden_layers=3, **changes)
    policy = policy_with_dropout(folder)
    seen = []
    for layer in policy.trunk.model.layers:
        layer.register_forward_hook(lambda module, inputs, output: seen.append(torch.equal(inputs[0], output)))
    policy.forward_backward(random_rows([9, 30]), sft, dropout_seeds=[1, 2])
    assert seen[:3] == [False, True, True]


@pytest.mark.parametrize("rank", [0, 4])
def test_any_split_of_a_step_gives_the_same_gradient(tied_llama, rank):
    rows, seeds = random_rows([9, 30, 5, 17, 40, 12, 23]), [derived_seed(0, i) for i in range(7)]
    whole, packed, parts = (policy_with_dropout(tied_llama, rank=rank, tokens=t) for t in (4096, 64, 4096))
    whole.forward_backward(rows, sft, dropout_seeds=seeds)
    packed.forward_backward(rows, sft, dropout_seeds=seeds)
    for part in (slice(0, 3), slice(3, 7)):  # as two ranks, or two accumulated parts, would
        parts.forward_backward(rows[part], sft, dropout_seeds=seeds[part])
    without = trainable(tied_llama, rank=rank)
    without.forward_backward(rows, sft)
    expected = gradients(whole)
    for policy in (packed, parts):
        for name, gradient in gradients(policy).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5)
    assert any(not torch.allclose(g, gradients(without)[n], rtol=0.1) for n, g in expected.items())


def test_it_acts_in_training_steps_only(tied_llama):
    rows = random_rows([9, 30, 5, 17])
    plain, policy = trainable(tied_llama), policy_with_dropout(tied_llama, rank=4)
    before = plain.logprobs(rows)
    losses = [policy.forward_backward(rows, sft, dropout_seeds=[s] * 4)["loss"] for s in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    for ours, theirs in zip(policy.logprobs(rows), before, strict=True):
        assert torch.equal(ours, theirs)
    policy.add_residual_dropout(0.0)
    assert policy.forward_backward(rows, sft, dropout_seeds=[1] * 4) == plain.forward_backward(rows, sft)


def test_an_error_in_a_step_leaves_no_dropout_behind(tied_llama):
    rows = random_rows([9, 30, 5])
    policy = policy_with_dropout(tied_llama)
    before = policy.logprobs(rows)

    def bad(batch, outputs):
        raise FloatingPointError("no")

    with pytest.raises(FloatingPointError):
        policy.forward_backward(rows, bad, dropout_seeds=[1, 2, 3])
    assert all(torch.equal(a, b) for a, b in zip(policy.logprobs(rows), before, strict=True))


def test_layers_of_another_kind_are_refused():
    layer = nn.Module()
    layer.self_attn, layer.mlp, layer.input_layernorm = nn.Identity(), nn.Identity(), nn.Identity()
    with pytest.raises(ValueError, match="residual_dropout=0"):
        ResidualDropout(nn.ModuleList([layer]), 0.3)


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    def talk(n: int) -> Conversation:
        turns = (Message(role="user", content=f"Capital {n}?"), Message(role="assistant", content="Paris, of course."))
        return Conversation(messages=turns)

    write_records(tmp_path_factory.mktemp("rows") / "rows.jsonl", [talk(n) for n in range(10)])
    return tmp_path_factory.getbasetemp() / "rows0" / "rows.jsonl"


def test_the_stage_drops_in_its_steps_and_not_in_its_held_out_loss(tied_llama, demonstrations, tmp_path):
    def train(highest: float, tokens: int = 1024):
        settings = SftSettings(
            model=ModelSettings(precision="float32", lora_rank=0, micro_batch_tokens=tokens),
            batch_size=4,
            held_out=2,
            epochs=1,
            residual_dropout=highest,
        )
        inputs = {"model": tied_llama, "demonstrations": demonstrations}
        path = execute([Stage("sft", train_sft, settings, inputs)], tmp_path)["sft"]
        assert read_manifest(path)["settings"]["residual_dropout"] == highest
        rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        return SimpleNamespace(held_out=rows[0]["held_out_loss"], losses=[r["loss"] for r in rows if "loss" in r])

    none, some, packed = train(0.0), train(0.5), train(0.5, tokens=16)
    assert none.held_out == some.held_out
    assert some.losses[0] != pytest.approx(none.losses[0], rel=1e-4)
    assert packed.losses == pytest.approx(some.losses, rel=1e-4)
