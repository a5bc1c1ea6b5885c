"""Models of transformers, loaded with our attention, and checked to be of a kind that camelid computes rightly."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from camelid.models import attention
from camelid.models.adapter_config import is_adapter
from camelid.models.adapter_files import merge, read_adapter
from camelid.models.compute import Compute
from camelid.models.loading import weights_folder
from camelid.process import give_back_freed_memory

LOGIT_TRANSFORMS = {"final_logit_softcapping": None, "logit_scale": 1, "logits_scaling": 1}
"""Settings by which some architectures change logits after the output head, and their values where nothing happens."""


def check_architecture(model: nn.Module) -> None:
    """Raise ValueError for a model whose attention or head camelid would compute wrongly, naming what is missing."""
    name = type(model).__name__
    if not getattr(model, "_supports_attention_backend", False):
        raise ValueError(
            f"{name} does not use transformers' attention interface, so packed rows would attend across each other; "
            f"take a model whose attention can be plugged (Llama, Qwen, Mistral, Gemma, SmolLM ...)"
        )
    if not isinstance(getattr(model.base_model, "layers", None), nn.ModuleList):
        raise ValueError(f"{name} keeps its layers in a way that camelid does not know; take a model of the Llama kind")
    for key, neutral in LOGIT_TRANSFORMS.items():
        value = getattr(model.config, key, neutral)
        if value not in (neutral, None):
            raise ValueError(f"{name} has {key} = {value}, which camelid's log-probabilities do not apply yet")


def load_pretrained(
    auto_class: Any,
    path: Path,
    compute: Compute,
    dtype: torch.dtype | Literal["auto"],
    *,
    may_lack: Collection[str] = (),
    **more: Any,
) -> Any:
    """A model of a transformers auto class: safetensors only, no code from the repository, our attention.

    `path` may be an adapter's: then it is the base model with the adapter merged into it.
    Raises ValueError where the folder lacks weights that the model needs, other than `may_lack`: transformers would
    draw them at random and say so in a table that nobody reads, which is why its own report is switched off here.
    """
    give_back_freed_memory()
    attention.register()
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        model, report = auto_class.from_pretrained(
            weights_folder(path),
            dtype=dtype,
            attn_implementation=attention.NAME,
            use_safetensors=True,
            trust_remote_code=False,
            device_map=None if compute.device.type == "cpu" else {"": compute.device},
            output_loading_info=True,
            **more,
        )
    finally:
        transformers_logging.set_verbosity(verbosity)
    missing = sorted(set(report["missing_keys"]) - set(may_lack))
    if missing or report["mismatched_keys"]:
        wrong = [*missing, *map(str, report["mismatched_keys"])]
        raise ValueError(f"{path} does not hold the weights of a {type(model).__name__}: {', '.join(wrong[:3])} ...")
    if "score.weight" in report["unexpected_keys"]:
        raise ValueError(f"{path} is a reward model, not a language model")
    if is_adapter(path):
        merge(model, read_adapter(path).of_first_layers(model.config.num_hidden_layers if "config" in more else None))
    return model
