"""Against peft itself: formula, gradients, files in both directions. Skipped where peft is not installed."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from camelid.models.lora import lora_layers, merged_state
from camelid.models.lora_targets import add_lora
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel

peft = pytest.importorskip("peft", reason="peft is not installed (it is in the extra `dev`)")

IDS = torch.arange(3, 23)[None]
FLOAT32 = ModelSettings(precision="float32")
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def base_of(folder) -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(IDS).logits


def stir(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.3, generator=generator)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-5)


def test_values_gradients_and_merged_weights_are_pefts(llama):
    model = base_of(llama).requires_grad_(False)
    theirs = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(r=4, lora_alpha=8.0, target_modules=ALL))
    add_lora(model.model.layers, rank=4, alpha=8.0, first_layer=0, seed=0)
    stir(model)
    pairs = [(layer.adapter, theirs.base_model.model.get_submodule(name)) for name, layer in lora_layers(model)]
    for ours, their_layer in pairs:
        their_layer.lora_A["default"].weight.data.copy_(ours.lora_a)
        their_layer.lora_B["default"].weight.data.copy_(ours.lora_b)
    close(logits(model), logits(theirs))
    for network in (model, theirs):
        network(IDS).logits.logsumexp(-1).sum().backward()
    for ours, their_layer in pairs:
        close(ours.lora_a.grad, their_layer.lora_A["default"].weight.grad)
        close(ours.lora_b.grad, their_layer.lora_B["default"].weight.grad)
    merged = theirs.merge_and_unload().state_dict()
    for name, tensor in merged_state(model, torch.float32).items():
        torch.testing.assert_close(tensor, merged[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("chosen", [{}, {"lora_first_layer": 1}, {"lora_targets": "attention", "lora_alpha": 5.5}])
def test_peft_reads_what_we_leave(llama, tmp_path, chosen):
    settings = ModelSettings(precision="float32", lora_rank=4, save_adapter=True, **chosen)
    policy = Policy.load_for_training(llama, settings, OptimizerSettings(), seed=0)
    stir(policy.model)
    policy.save(tmp_path / "model", "# card\n")
    theirs = peft.PeftModel.from_pretrained(base_of(llama), tmp_path / "adapter")
    assert {name for name, _ in theirs.named_parameters() if "lora_A" in name} == {
        f"base_model.model.{name}.lora_A.default.weight" for name, _ in lora_layers(policy.model)
    }
    ours = logits(base_of(tmp_path / "model"))
    assert (ours - logits(base_of(llama))).abs().max() > 0.1
    close(logits(theirs), ours)
    with torch.no_grad():
        close(policy.model(IDS, segment_lengths=[20]).logits, ours)
    # And writes it again with the same names, so nothing of ours was passed over.
    theirs.save_pretrained(tmp_path / "again")
    ours, again = (json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in ("adapter", "again"))
    assert {key: again[key] for key in ours if key != "target_modules"} == {
        key: value for key, value in ours.items() if key != "target_modules"
    }
    assert sorted(again["target_modules"]) == ours["target_modules"]


@pytest.mark.parametrize(
    "more",
    [
        {"target_modules": ALL},
        {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1], "lora_dropout": 0.1},
        {"target_modules": r".*layers\.0\.mlp\.(up|down)_proj|.*layers\.1\.self_attn\.q_proj"},
        {"target_modules": "all-linear", "use_rslora": True},
    ],
)
def test_we_read_what_peft_leaves(tied_llama, tmp_path, more):
    """Merged, continued, and continued and left again."""
    base = base_of(tied_llama)
    theirs = peft.get_peft_model(base, peft.LoraConfig(r=3, lora_alpha=7, task_type="CAUSAL_LM", **more)).eval()
    stir(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        wanted = theirs(IDS).logits
        merged = Policy.load(tmp_path / "theirs", FLOAT32)
        close(merged.model(IDS, segment_lengths=[20]).logits, wanted)
        settings = FLOAT32.model_copy(update={"lora_start": "continue", "save_adapter": True})
        policy = Policy.load_for_training(tmp_path / "theirs", settings, OptimizerSettings(), seed=0)
        close(policy.model(IDS, segment_lengths=[20]).logits, wanted)
    policy.save(tmp_path / "model", "")
    back = peft.PeftModel.from_pretrained(base_of(tied_llama), tmp_path / "adapter")
    close(logits(back), wanted)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"bias": "lora_only"}, "biases"),
        ({"modules_to_save": ["embed_tokens"]}, "whole modules"),
        ({"trainable_token_indices": [1, 2]}, "trainable_token_indices"),
        ({"lora_bias": True}, "lora_bias"),
        ({"init_lora_weights": "olora"}, "olora"),
    ],
)
def test_pefts_other_kinds_are_refused_by_name(tied_llama, tmp_path, more, message):
    config = peft.LoraConfig(r=3, target_modules=["q_proj"], task_type="CAUSAL_LM", **more)
    peft.get_peft_model(base_of(tied_llama), config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        Policy.load(tmp_path, FLOAT32)


def test_reward_models_go_both_ways(tied_llama, tmp_path):
    """Their score is read at the last token, ours as well; ours is standardised, so the raw ones are compared."""
    settings = ModelSettings(precision="float32", lora_rank=4, save_adapter=True)
    reward = RewardModel.create(tied_llama, settings, OptimizerSettings(), num_layers=1, seed=0)
    stir(reward.model)
    reward.save(tmp_path / "model", "")

    def classifier():
        return AutoModelForSequenceClassification.from_pretrained(
            tied_llama, num_labels=1, num_hidden_layers=1, dtype=torch.float32, pad_token_id=reward.chat.pad_id
        )

    theirs = peft.PeftModel.from_pretrained(classifier(), tmp_path / "adapter")
    ours = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", dtype=torch.float32)
    close(logits(theirs), logits(ours))

    config = peft.LoraConfig(r=3, lora_alpha=7, task_type="SEQ_CLS", target_modules=ALL)
    whole = AutoModelForSequenceClassification.from_pretrained(
        tied_llama, num_labels=1, dtype=torch.float32, pad_token_id=reward.chat.pad_id
    )
    theirs = peft.get_peft_model(whole, config).eval()
    stir(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    read = RewardModel.load(tmp_path / "theirs", FLOAT32)
    with torch.no_grad():
        close(read.model(IDS, segment_lengths=[20]).logits, logits(theirs))
