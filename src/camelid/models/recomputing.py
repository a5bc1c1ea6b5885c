"""Activation checkpointing: layers that keep their input only and are computed again in the backward pass.

Chen et al. 2016 (arXiv:1604.06174). A layer's `forward` is wrapped, for any transformers model of the Llama kind; what
the layer is called with, segment lengths among it, passes through. transformers' own `gradient_checkpointing_enable`
acts in training mode only, and ours is a model in eval mode; it also does all layers or none.

How many layers are computed again is found for each micro-batch: as few as let its activations fit the memory that was
free when training began, the first ones first, since their turn comes last, when the others' activations are gone. The
arithmetic is the same twice, so losses and gradients are too, bit by bit. Left out: activations in the CPU's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from camelid.models.memory import Training

if TYPE_CHECKING:
    from camelid.models.model_settings import ModelSettings

USABLE = 0.9
"""Share of the free memory that activations may fill; the rest is for what an estimate does not see."""


class Recomputing:
    """Decides, and stands inside the layers' `forward`."""

    def __init__(self, layers: Sequence[nn.Module], training: Training, settings: ModelSettings, device: torch.device):
        self.training = training
        self.micro_batch_tokens = settings.micro_batch_tokens
        self.always = settings.checkpointing == "always"
        self.device = device
        self.room: float | None = None
        """Bytes for activations; None before the first forward pass of training, by when all models are loaded."""
        for place, layer in enumerate(layers[training.first_layer :]):
            layer.forward = Again(layer.forward, place, self.layers)

    def layers(self, extents: Sequence[tuple[int, int]]) -> int:
        """How many layers of those that train are computed again for a micro-batch.

        `extents`: of each segment or branch, its tokens and how many the last of them sees.
        """
        if self.always:
            return self.training.layers
        if self.room is None:
            still_to_come = self.training.optimizer_bytes + self.training.copied_bytes
            still_to_come += self.training.head_bytes(self.micro_batch_tokens)
            self.room = max(USABLE * free_bytes(self.device) - still_to_come, 0.0)
        tokens = sum(width for width, _ in extents)
        # Weights of attention are counted by what a token sees: the mean over tokens, not over segments.
        length = sum(width * seen for width, seen in extents) / tokens
        return self.training.layers_to_recompute(tokens, length, self.room)


class Again:
    """A layer's forward pass, done again in the backward pass where `wanted` says so."""

    def __init__(self, forward: Callable[..., Any], place: int, wanted: Callable[[Sequence[tuple[int, int]]], int]):
        self.forward = forward
        self.place = place
        self.wanted = wanted

    def __call__(self, hidden: Tensor, *arguments: Any, **named: Any) -> Any:
        extents = _extents(named) if torch.is_grad_enabled() else []
        if not extents or self.place >= self.wanted(extents):
            return self.forward(hidden, *arguments, **named)
        # No layer of ours draws random numbers from the global state: residual dropout has streams of its own.
        return checkpoint(self.forward, hidden, *arguments, use_reentrant=False, preserve_rng_state=False, **named)


def _extents(named: dict[str, Any]) -> Sequence[tuple[int, int]]:
    """Of what a packed pass lays out, tokens and how far they see; nothing for other passes."""
    if (tree := named.get("tree")) is not None:
        return tree.extents
    return [(length, length) for length in named.get("segment_lengths") or ()]


def free_bytes(device: torch.device) -> int:
    """Memory that tensors may still take on a device."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return free_ram_bytes()


def free_ram_bytes() -> int:
    """What the system has, or less where this process' control group is allowed less.

    Raises ValueError where neither is told, as outside Linux.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (FileNotFoundError, StopIteration):
        raise ValueError(
            "this system does not say how much memory is free: set model.checkpointing to never or always"
        ) from None
    group = Path("/sys/fs/cgroup")
    try:
        allowed = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (FileNotFoundError, ValueError):  # no group of version 2, or "max": no limit
        return free
    return max(min(free, allowed), 0)
