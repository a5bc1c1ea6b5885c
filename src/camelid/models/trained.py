"""What of a model trains: adapters, or every weight; and the model as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import nn

from camelid.models.adapter_config import is_adapter
from camelid.models.adapter_files import AdapterFile, attach, read_adapter
from camelid.models.compute import choose_compute
from camelid.models.fused import fuse
from camelid.models.lora import START, TRAINED, has_adapter, using
from camelid.models.lora_targets import add_lora
from camelid.models.master_weights import hold_master_weights
from camelid.models.memory import Training
from camelid.models.model_settings import ModelSettings
from camelid.models.recomputing import Recomputing
from camelid.models.shape import Shape


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
