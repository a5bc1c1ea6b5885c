"""Adapters in peft's files: read, merged into a model or trained further; written, so that peft reads them.

Both files are as peft has them, names of tensors included. What else must be known stands in `camelid.json` beside
them: fingerprints of the base model's adapted weights, so that an adapter is not put on another model, and what a
reward model needs. Adapters without it are read as well. Left out: anything that `adapter_config` refuses.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from camelid.models.adapter_config import CONFIG, WEIGHTS, read_config, written_config
from camelid.models.checkpointing import save_tensors
from camelid.models.lora import TRAINED, Adapter, lora_layers
from camelid.models.lora_targets import adaptable

PREFIX = "base_model.model."
A, B = ".lora_A.weight", ".lora_B.weight"
NOTES = "camelid.json"
SCORE_NOTES = ("score_mean", "score_std", "temperature")
"""Names of what a reward model's config says of its scores."""
SAMPLED = 64
"""Numbers of each weight that go into a fingerprint."""


class Factors(NamedTuple):
    """A (r, in) and B (out, r) of one layer, float32."""

    a: Tensor
    b: Tensor


class AdapterFile(NamedTuple):
    """What an adapter folder holds."""

    folder: Path
    scale: float
    factors: dict[str, Factors]
    """By the layer's name in the model, such as `model.layers.0.mlp.up_proj`."""
    head: Tensor | None
    """A reward model's head (1, H)."""
    notes: dict[str, Any]
    """What camelid wrote besides: `base`, and for reward models `num_layers`, `pad_id` and SCORE_NOTES."""

    @property
    def score_notes(self) -> dict[str, float]:
        """What a reward model's config says of its scores."""
        return {name: self.notes[name] for name in SCORE_NOTES if name in self.notes}

    def of_first_layers(self, number: int | None) -> AdapterFile:
        """For a model that is cut after `number` layers; None for a whole one."""
        if number is None:
            return self
        kept = {name: x for name, x in self.factors.items() if (layer_number(name) or 0) < number}
        return self._replace(factors=kept)


def read_adapter(folder: Path) -> AdapterFile:
    """Raises ValueError for a folder whose config or tensors we do not read."""
    config = read_config(folder)
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is no whole safetensors file: {error}") from None
    heads = {name: tensor for name, tensor in tensors.items() if name == f"{PREFIX}score.weight"}
    layers = sorted(name.removesuffix(A) for name in tensors if name.endswith(A))
    expected = {name + end for name in layers for end in (A, B)} | set(heads)
    odd = sorted(set(tensors) ^ expected) or [name for name in layers if not name.startswith(PREFIX)]
    if odd or not layers:
        raise ValueError(f"{folder / WEIGHTS}: {odd[0] if odd else 'no tensor'} is not what a LoRA adapter consists of")
    factors = {
        name.removeprefix(PREFIX): Factors(tensors[name + A].float(), tensors[name + B].float()) for name in layers
    }
    for name, (a, b) in factors.items():
        if layer_number(name) is None:
            raise ValueError(f"{folder}: the adapter is for {name}; camelid reads those of a decoder's layers only")
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != config.rank or b.shape[1] != config.rank:
            shapes = f"{tuple(b.shape)} and {tuple(a.shape)}"
            raise ValueError(f"{folder / WEIGHTS}: {name} has factors of {shapes}, and {CONFIG} says r = {config.rank}")
        if not (a.isfinite().all() and b.isfinite().all()):
            raise ValueError(f"{folder / WEIGHTS}: {name} holds a NaN or an infinity")
    head = next(iter(heads.values())).float() if heads else None
    if head is not None and head.shape[0] != 1:
        raise ValueError(f"{folder}: its head gives {head.shape[0]} numbers; a reward model's gives one")
    return AdapterFile(folder, config.scale, factors, head, _notes(folder / NOTES))


@torch.no_grad()
def merge(model: nn.Module, adapter: AdapterFile) -> None:
    """Add the adapter to the weights of a model that carries none: float32 arithmetic, then the weights' format.

    A reward model's head is put in its place.
    """
    score: Any = getattr(model, "score", None)
    if adapter.head is not None and score is None:
        raise ValueError(f"{adapter.folder} is the adapter of a reward model, not of a language model")
    for linear, factors in _placed(model, adapter).values():
        linear.weight.copy_(Adapter(*factors, adapter.scale).to(linear.weight.device).added_to(linear.weight))
    if adapter.head is not None:
        score.weight.copy_(adapter.head)


def attach(model: nn.Module, adapter: AdapterFile, name: str) -> None:
    """Put the adapter beside the weights, active, its parameters trainable."""
    for place, (_, factors) in _placed(model, adapter).items():
        adaptable(model, place).add(name, Adapter(factors.a.clone(), factors.b.clone(), adapter.scale))


def save_adapter(
    model: nn.Module, folder: Path, *, base: str, card: str, head: Tensor | None = None, notes: dict[str, Any]
) -> None:
    """Write the adapter that training left on `model`; `base` is the name or folder that it goes with."""
    layers = {name: layer for name, layer in lora_layers(model) if TRAINED in layer.adapters}
    adapters: dict[str, Any] = {name: layer.adapters[TRAINED] for name, layer in layers.items()}
    tensors = {f"{PREFIX}{name}{A}": adapter.lora_a for name, adapter in adapters.items()}
    tensors |= {f"{PREFIX}{name}{B}": adapter.lora_b for name, adapter in adapters.items()}
    if head is not None:
        tensors[f"{PREFIX}score.weight"] = head
    first = next(iter(adapters.values()))
    config = written_config(
        list(layers),
        base=base,
        rank=first.lora_a.shape[0],
        scale=first.scale,
        task="CAUSAL_LM" if head is None else "SEQ_CLS",
        saved=[] if head is None else ["score"],
    )
    notes = {"base": {name: fingerprint(layer.base) for name, layer in layers.items()}} | notes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    save_tensors(folder / WEIGHTS, tensors, {"format": "pt"})
    (folder / NOTES).write_text(json.dumps(notes, indent=1) + "\n")
    (folder / "README.md").write_text(card)


def fingerprint(layer: nn.Linear) -> str:
    """Of some numbers of a weight, rounded to bfloat16: the same in whatever format the model is held."""
    numbers = layer.weight.detach().flatten()
    sampled = numbers[:: max(1, len(numbers) // SAMPLED)].bfloat16().cpu()
    return hashlib.sha256(sampled.view(torch.int16).numpy().tobytes()).hexdigest()[:8]


def layer_number(name: str) -> int | None:
    """3 for `model.layers.3.mlp.up_proj`; None for what is in no layer of a decoder."""
    number = name.partition(".layers.")[2].partition(".")[0]
    return int(number) if number.isdigit() else None


def _notes(file: Path) -> dict[str, Any]:
    """What camelid wrote besides; nothing for an adapter of others."""
    if not file.exists():
        return {}
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}; without it the adapter is read as one of others") from None


def _placed(model: nn.Module, adapter: AdapterFile) -> dict[str, tuple[nn.Linear, Factors]]:
    """The layers that the adapter goes to. Raises ValueError where the model is not the one that it was trained on."""
    placed: dict[str, tuple[nn.Linear, Factors]] = {}
    for name, factors in adapter.factors.items():
        try:
            layer: Any = model.get_submodule(name)
        except AttributeError:
            layer = None
        linear = getattr(layer, "base", layer)
        if not isinstance(linear, nn.Linear):
            raise ValueError(
                f"{adapter.folder}: the adapter is for {name}, and its base model has no such linear layer"
            )
        shape = (factors.b.shape[0], factors.a.shape[1])
        if linear.weight.shape != shape:
            raise ValueError(
                f"{adapter.folder}: the adapter's {name} is of shape {shape}, the base model's of "
                f"{tuple(linear.weight.shape)}: it was trained on another model"
            )
        placed[name] = (linear, factors)
        if adapter.notes.get("base", {}).get(name, fingerprint(linear)) != fingerprint(linear):
            raise ValueError(
                f"{adapter.folder}: the adapter was trained on other weights than this base model's {name}"
            )
    return placed
