"""The transformer under a policy or a reward model: packed forward pass, what of it trains, merging, saving."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from camelid.models import attention
from camelid.models.adapter_config import is_adapter
from camelid.models.adapter_files import AdapterFile, attach, merge, read_adapter
from camelid.models.batch import Batch
from camelid.models.compute import Compute, Precision, choose_compute
from camelid.models.fused import fuse
from camelid.models.loading import weights_folder
from camelid.models.lora import START, TRAINED, has_adapter, using
from camelid.models.lora_targets import add_lora
from camelid.models.master_weights import hold_master_weights
from camelid.models.memory import Training
from camelid.models.recomputing import Recomputing
from camelid.models.shape import Shape
from camelid.process import give_back_freed_memory

LOGIT_TRANSFORMS = {"final_logit_softcapping": None, "logit_scale": 1, "logits_scaling": 1}
"""Settings by which some architectures change logits after the output head, and their values where nothing happens."""


class ModelSettings(BaseModel):
    """How a model is held in memory and what of it trains."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    precision: Precision = "auto"
    """Format of matrix products: float32, bfloat16, or auto (bfloat16 where the hardware has it)."""
    lora_rank: int = 16
    """Rank of the LoRA adapters; 0 trains the full weights."""
    lora_alpha: float = 32.0
    """The adapter's output is scaled by lora_alpha / lora_rank."""
    lora_first_layer: int = 0
    """Layers below this one carry no adapter, so the backward pass ends there."""
    lora_targets: str = "all"
    """Which linear layers carry adapters: all, attention, mlp, or names with commas between, such as q_proj,v_proj."""
    lora_start: Literal["new", "continue"] = "new"
    """Where the model is an adapter folder: `new` merges it and trains new adapters, `continue` trains it further, with
    its own rank, alpha and layers. In both cases the reference is the model as it was given."""
    save_adapter: bool = False
    """Leave the adapters alone as well, in peft's format: `adapter/` beside `model/`. Everything of ours reads both.
    SmolLM2-135M at rank 16: 23 MB, the tokenizer's 4 MB among them, beside the merged model's 273 MB (bfloat16)."""
    micro_batch_tokens: int = 1024
    """Token budget of one forward and backward pass; changes memory and speed, never the gradient."""
    checkpointing: Literal["auto", "never", "always"] = "auto"
    """Activation checkpointing: layers keep their inputs only and are computed again in the backward pass; `auto`: as
    many layers as the free memory asks for, by an estimate. All of them cost a third to a half more time. The gradient
    stays the same."""

    compile: Literal["auto", "never", "always"] = "auto"
    """Compile the layers with torch.compile for training: `auto` on a GPU, where the run is long enough to pay for it.
    Changes speed, and numbers by rounding alone. Sampling is never compiled."""

    @model_validator(mode="after")
    def _adapters_where_they_are_meant(self) -> ModelSettings:
        if self.lora_rank == 0 and (self.save_adapter or self.lora_start == "continue"):
            meant = "save_adapter" if self.save_adapter else "lora_start=continue"
            raise ValueError(f"lora_rank = 0 trains the full weights: there is no adapter for {meant}")
        return self


class Trunk:
    """A transformers decoder without its head, fed with packed batches."""

    def __init__(self, model: nn.Module, compute: Compute):
        self.model = model
        self.compute = compute

    def hidden(self, batch: Batch) -> Tensor:
        """Final hidden states (1, T, H) of a packed batch, as if no row shared anything with another."""
        branches = batch.branches
        if branches is None:
            return self._forward(batch.ids, batch.positions, segment_lengths=batch.segment_lengths)
        states = self._forward(branches.ids, branches.positions, tree=branches.tree)
        return states[0].index_select(0, branches.places)[None]

    def _forward(self, ids: Tensor, positions: Tensor, **layout: Any) -> Tensor:
        with self.autocast():
            output = self.model(input_ids=ids, position_ids=positions, use_cache=False, **layout)
        return output.last_hidden_state

    def autocast(self) -> AbstractContextManager[Any]:
        """Full fine-tuning keeps float32 weights and multiplies in the compute format."""
        weights = next(self.model.parameters()).dtype
        if weights == self.compute.dtype:
            return nullcontext()
        return torch.autocast(self.compute.device.type, self.compute.dtype)


def given_adapter(path: Path, settings: ModelSettings) -> AdapterFile | None:
    """The adapter that training goes on with; None where it starts with new ones.

    Raises ValueError where what is wanted cannot be: better now than when everything has been trained.
    """
    if settings.lora_start == "continue":
        if not is_adapter(path):
            raise ValueError(f"{path} is no adapter folder, so there is no adapter to continue: set lora_start=new")
        adapter = read_adapter(path)
        if adapter.head is not None:
            raise ValueError(f"{path} is a reward model's adapter; only a language model's can be continued")
        return adapter
    if settings.save_adapter and is_adapter(path):
        raise ValueError(
            f"{path} is an adapter: one on top of it would have a base model that is in no folder. Set "
            f"lora_start=continue, or merge it first: `camelid models merge {path} --out FOLDER`"
        )
    return None


def prepare_training(model: Any, settings: ModelSettings, seed: int, given: AdapterFile | None = None) -> None:
    """Freeze a model, its head included, and add adapters; or with rank 0 let every weight train (float32 then).

    `given` is the adapter to be trained further; its start is kept beside it, frozen, as `START`.
    """
    model.requires_grad_(settings.lora_rank == 0)
    # Where padding is the end of turn, as in SmolLM2, its embedding would get no gradient. Our rows hold no padding.
    model.get_input_embeddings().padding_idx = None
    if given is not None:
        attach(model, given, START)
        model.requires_grad_(False)
        attach(model, given, TRAINED)
    elif settings.lora_start == "continue":
        raise ValueError("lora_start=continue goes on with a language model's adapter; here it must be new")
    elif settings.lora_rank:
        add_lora(
            model.base_model.layers,
            rank=settings.lora_rank,
            alpha=settings.lora_alpha,
            first_layer=settings.lora_first_layer,
            targets=settings.lora_targets,
            seed=seed,
        )
    dtype = choose_compute(settings.precision).dtype
    fuse(model.base_model, dtype)
    if settings.lora_rank == 0:
        hold_master_weights(model, dtype)
    if settings.checkpointing != "never":
        shape = Shape.of(model.config.to_dict(), type(model).__name__)
        device = next(model.parameters()).device
        training = Training.of(shape, settings, dtype.itemsize, on_cpu=device.type == "cpu")
        Recomputing(model.base_model.layers, training, settings, device)


def as_given(model: nn.Module) -> AbstractContextManager[None]:
    """A model with adapters as it was before training: the reference, at no memory but a continued adapter's start."""
    return using(model, START if has_adapter(model, START) else None)


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
