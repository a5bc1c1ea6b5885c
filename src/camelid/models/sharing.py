"""Several models on one trunk in memory: what was trained as adapters needs the weights beneath them once.

A policy, its value head and its reference share their trunk already. Here a reward model joins them, that was trained
with adapters on the same base model: it gets modules of its own around the policy's weights, so that each has its
adapters active without asking the other, in passes that are computed again for their gradient as well. A reward model
of the size of the policy costs its adapters then, instead of the policy's weights once more.

Its scores are those of adapters beside the weights. Merged, as on disk, they are rounded to the weights' format, so in
bfloat16 the scores differ by what that rounding changes.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from camelid.models.adapter_config import is_adapter
from camelid.models.adapter_files import attach, read_adapter
from camelid.models.loading import tokenizer_folder
from camelid.models.lora import lora_layers
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel


def view(model: nn.Module) -> nn.Module:
    """A second model around the same weights, without adapters: modules are copied, no parameter or buffer is."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    second = copy.deepcopy(model, shared)
    for name, layer in list(lora_layers(second)):
        parent, _, leaf = name.rpartition(".")
        setattr(second.get_submodule(parent), leaf, layer.base)
    return second


def reward_model_beside(policy: Policy, folder: Path, chat_format: str = "model") -> RewardModel:
    """The reward model of an adapter folder, to score with, on the weights that `policy` has in memory.

    Raises ValueError where it is no reward model's adapter, or was trained on other weights than the policy's.
    """
    if not is_adapter(folder):
        raise ValueError(f"{folder} is no adapter folder: train the reward model with model.save_adapter=true")
    if not policy.settings.lora_rank:
        raise ValueError("the policy trains its full weights (lora_rank = 0): a reward model on them would change too")
    adapter = read_adapter(folder)
    if adapter.head is None:
        raise ValueError(f"{folder} is the adapter of a language model, not of a reward model")
    trunk: Any = view(policy.model.base_model)
    num_layers = adapter.notes.get("num_layers", len(trunk.layers))
    if num_layers > len(trunk.layers):
        raise ValueError(f"{folder} needs {num_layers} layers, and the policy has {len(trunk.layers)}")
    config = copy.deepcopy(policy.model.config)
    config.num_labels, config.num_hidden_layers, config.camelid = 1, num_layers, adapter.score_notes
    trunk.layers, trunk.config = trunk.layers[:num_layers], config
    with torch.device("meta"):  # an empty shell
        model = AutoModelForSequenceClassification.from_config(config)
    setattr(model, model.base_model_prefix, trunk)
    model.score = nn.Linear(config.hidden_size, 1, bias=False)
    model.score.weight.data = adapter.head.to(policy.compute.device, policy.compute.dtype)
    attach(model, adapter, "reward")
    for _, layer in lora_layers(model):
        layer.adapters.requires_grad_(False)
    model.score.requires_grad_(False)
    tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder(folder), trust_remote_code=False)
    return RewardModel(model, tokenizer, policy.compute, policy.settings, chat_format)
