"""The transformer under a policy or a reward model: packed forward pass, what of it trains, merging, saving."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from camelid.models import attention
from camelid.models.batch import Batch
from camelid.models.compute import Compute, Precision
from camelid.models.lora import add_lora

LOGIT_TRANSFORMS = {"final_logit_softcapping": None, "logit_scale": 1, "logits_scaling": 1}
"""Settings by which some architectures change logits after the output head, and their values where nothing happens."""


class ModelSettings(BaseModel):
    """How a model is held in memory and what of it trains."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    precision: Precision = "auto"
    """Format of matrix products: float32, bfloat16, or auto (bfloat16 where the hardware has it)."""
    lora_rank: int = 16
    """Rank of the LoRA adapters on all linear layers; 0 trains the full weights."""
    lora_alpha: float = 32.0
    """The adapter's output is scaled by lora_alpha / lora_rank."""
    lora_first_layer: int = 0
    """Layers below this one carry no adapter, so the backward pass ends there."""
    micro_batch_tokens: int = 1024
    """Token budget of one forward and backward pass; changes memory and speed, never the gradient."""


class Trunk:
    """A transformers decoder without its head, fed with packed batches."""

    def __init__(self, model: nn.Module, compute: Compute):
        self.model = model
        self.compute = compute

    def hidden(self, batch: Batch) -> Tensor:
        """Final hidden states (1, T, H) of a packed batch."""
        with self.autocast():
            output = self.model(
                input_ids=batch.ids,
                position_ids=batch.positions,
                use_cache=False,
                segment_lengths=batch.segment_lengths,
            )
        return output.last_hidden_state

    def autocast(self) -> AbstractContextManager[Any]:
        """Full fine-tuning keeps float32 weights and multiplies in the compute format."""
        weights = next(self.model.parameters()).dtype
        if weights == self.compute.dtype:
            return nullcontext()
        return torch.autocast(self.compute.device.type, self.compute.dtype)


def prepare_training(model: Any, settings: ModelSettings, seed: int) -> None:
    """Freeze a model, its head included, and add adapters; or with rank 0 let every weight train (float32 then)."""
    model.requires_grad_(settings.lora_rank == 0)
    # Where padding is the end of turn, as in SmolLM2, its embedding would get no gradient. Our rows hold no padding.
    model.get_input_embeddings().padding_idx = None
    if settings.lora_rank:
        add_lora(
            model.base_model.layers,
            rank=settings.lora_rank,
            alpha=settings.lora_alpha,
            first_layer=settings.lora_first_layer,
            seed=seed,
        )


def trained_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters of what trains; a weight that is shared comes once."""
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


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

    Raises ValueError where the folder lacks weights that the model needs, other than `may_lack`: transformers would
    draw them at random and say so in a table that nobody reads, which is why its own report is switched off here.
    """
    attention.register()
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        model, report = auto_class.from_pretrained(
            path,
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
    return model
