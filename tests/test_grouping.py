"""Multi-head to grouped-query attention: known answer 11, on disk and back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from camelid.cli import main
from camelid.models.grouping import cache_bytes_per_token, group_key_value_heads
from camelid.models.model_settings import ModelSettings
from camelid.models.policy import Policy
from camelid.models.prefill import prefill
from camelid.models.sampling import Sampling
from camelid.models.surgery import open_model, write_model
from test_batch import random_rows, sft
from test_policy import trainable
from tiny import write_tiny_llama

ROWS = random_rows([9, 30, 5, 17])
HEADS = 4
KINDS = {
    "llama": {},
    "biased": {"attention_bias": True},
    "wide": {"head_dim": 16},
    "qwen2": {"architecture": "Qwen2ForCausalLM"},
    "qwen3": {"architecture": "Qwen3ForCausalLM", "head_dim": 8},
}
"""Keys with and without biases, wider than the model's width by heads, and normalised."""


def alike(folder: Path, kv_heads: int, groups: int, **changes) -> Path:
    """A model whose key-value heads are the same within each of `groups` groups."""
    write_tiny_llama(folder, num_key_value_heads=kv_heads, **changes)
    model, tokenizer = open_model(folder)
    for layer in model.base_model.layers:
        for projection in (layer.self_attn.k_proj, layer.self_attn.v_proj):
            for name, parameter in projection.named_parameters():
                heads = parameter.data.view(groups, kv_heads // groups, -1, *parameter.shape[1:])
                heads += torch.rand(heads.shape) * (name == "bias")  # biases start at zero
                heads[:] = heads[:, :1].clone()
    write_model(model, tokenizer, folder, folder.with_name("alike"), "")
    return folder.with_name("alike")


def converted(source: Path, folder: Path, groups: int) -> Path:
    assert main(["models", "convert-gqa", str(source), "--groups", str(groups), "--out", str(folder)]) == 0
    return folder


def logprobs(folder: Path) -> torch.Tensor:
    return torch.cat(Policy.load(folder, ModelSettings(precision="float32")).logprobs(ROWS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("kv_heads", "groups"), [(4, 2), (4, 1), (2, 1)])
def test_identical_heads_in_a_group_lose_nothing(tmp_path, kind, kv_heads, groups):
    source = alike(tmp_path / "model", kv_heads, groups, **KINDS[kind])
    result = converted(source, tmp_path / "result", groups)
    torch.testing.assert_close(logprobs(result), logprobs(source), rtol=0, atol=1e-5)
    model = AutoModelForCausalLM.from_pretrained(result)
    assert model.config.num_key_value_heads == groups
    ids = torch.arange(3, 23)[None]
    plain = AutoModelForCausalLM.from_pretrained(source)(ids).logits  # in transformers' own attention, too
    torch.testing.assert_close(model(ids).logits, plain, rtol=0, atol=2e-5)


def test_as_many_groups_as_heads_is_the_identity(llama, tmp_path):
    model, _ = open_model(llama)
    group_key_value_heads(model, 2)
    before = AutoModelForCausalLM.from_pretrained(llama).state_dict()
    assert model.config.num_key_value_heads == 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(
        torch.equal(t, before[n]) for n, t in open_model(converted(llama, tmp_path / "out", 2))[0].state_dict().items()
    )


def test_heads_that_differ_lose_something_and_their_keys_are_the_mean(tmp_path):
    source = write_tiny_llama(tmp_path / "model", num_key_value_heads=4)
    result = converted(source, tmp_path / "result", 2)
    assert not torch.allclose(logprobs(result), logprobs(source), atol=1e-2)
    old, new = (open_model(folder)[0].base_model.layers[1].self_attn.v_proj.weight for folder in (source, result))
    torch.testing.assert_close(new[8:], (old[16:24] + old[24:]) / 2)  # the second group: heads 2 and 3 of width 8


def test_the_cache_shrinks_by_the_ratio_and_samples_are_those_of_the_whole_model(tmp_path):
    """2 layers, keys and values, 4 or 1 heads of width 8, 4 bytes: 512 and 128 bytes a token."""
    source = alike(tmp_path / "model", 4, 1)
    result = converted(source, tmp_path / "result", 1)
    sizes, drawn = [], []
    for folder in (source, result):
        policy = Policy.load(folder, ModelSettings(precision="float32"))
        with torch.no_grad():
            (prompts,) = prefill(policy.trunk, [[5] * 10] * 3, [1, 1, 1], 12).cohort.prompts
        held = sum(tensor.nbytes for tensor in (*prompts.keys, *prompts.values))
        assert held == 3 * 10 * cache_bytes_per_token(policy.model)
        sizes.append(held)
        drawn.append([s.ids for (s,) in policy.sample([[5, 6, 7], [9]], Sampling(max_new_tokens=12), seed=3)])
    assert sizes == [3 * 10 * 512, 3 * 10 * 128]
    assert drawn[0] == drawn[1]


def test_a_pooled_heads_gradient_is_the_sum_of_its_heads(tmp_path):
    """W_h = W_g for all heads h of a group, so dL/dW_g = sum over h of dL/dW_h."""
    source = alike(tmp_path / "model", 4, 2)
    result = converted(source, tmp_path / "result", 2)
    found = []
    for folder in (source, result):
        policy = trainable(folder, rank=0)
        policy.forward_backward(ROWS, sft)
        found.append(policy.trunk.model.layers[0].self_attn.k_proj.weight.grad)
    torch.testing.assert_close(found[1], found[0].view(2, 2, 8, 32).sum(1).flatten(0, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "reason"), [("Olmo2ForCausalLM", "normalises all its keys"), ("Phi3ForCausalLM", "cannot pool")]
)
def test_layers_of_another_kind_are_refused_and_left_as_they_are(tmp_path, architecture, reason):
    model, _ = open_model(write_tiny_llama(tmp_path / "model", architecture=architecture))
    with pytest.raises(ValueError, match=reason):
        group_key_value_heads(model, 1)
    assert model.config.num_key_value_heads == 2


def test_a_model_without_groups_in_its_config_is_refused(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(write_tiny_llama(tmp_path / "model"))
    del model.config.num_key_value_heads
    with pytest.raises(ValueError, match="no num_key_value_heads"):
        group_key_value_heads(model, 1)


def test_the_command_says_what_it_saves_and_what_is_wrong(tied_llama, tmp_path, capsys):
    words = ["models", "convert-gqa", str(tied_llama), "--out", str(tmp_path / "out"), "--groups"]
    assert main([*words, "3"]) == 1
    assert "1, 2 can" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main([*words, "1", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["before"]["cache_bytes_per_token"] == 2 * answer["after"]["cache_bytes_per_token"]
    assert [answer[when]["key_value_heads"] for when in ("before", "after")] == [2, 1]
    names = {file.name for file in tied_llama.iterdir()}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names | {"README.md"}
    assert main([*words, "1"]) == 1
    error = capsys.readouterr().err
    assert "not empty" in error and "\n" not in error.strip()
    assert [file.name for file in tmp_path.iterdir()] == ["out"]  # nothing left aside
