"""Which linear layers carry adapters, and putting them there."""

from __future__ import annotations

import math

import torch
from torch import nn

from camelid.models.lora import TRAINED, Adapter, LoraLinear

PARTS = {"attention": ("attn", "attention"), "mlp": ("mlp", "feed_forward")}
"""What `targets` may say besides `all` and names of layers, and what is in the names of the blocks that hold them."""


def add_lora(
    layers: nn.ModuleList,
    *,
    rank: int,
    alpha: float,
    first_layer: int,
    seed: int,
    targets: str = "all",
    name: str = TRAINED,
) -> None:
    """Put an adapter on linear layers of `layers[first_layer:]`; below it nothing trains and backward stops.

    `targets`: `all`, `attention`, `mlp`, or names of linear layers with commas between. Raises ValueError for a name
    that is not there.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in layers[first_layer:]:
        for place in chosen_targets(layer, targets):
            linear = adaptable(layer, place)
            inputs, outputs = linear.base.in_features, linear.base.out_features
            # Kaiming-uniform A and zero B, as in the original code: the adapter starts as the identity.
            bound = 1 / math.sqrt(inputs)
            a = torch.empty(rank, inputs).uniform_(-bound, bound, generator=generator)
            linear.add(name, Adapter(a, torch.zeros(outputs, rank), alpha / rank))


def chosen_targets(layer: nn.Module, targets: str) -> list[str]:
    """Places in `layer` of the linear layers that `targets` means, in the layer's order."""
    places = [
        name.removesuffix(".base")
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear) and ".adapters." not in name
    ]
    if targets == "all":
        return places
    if targets in PARTS:
        found = [place for place in places if any(part in place.partition(".")[0] for part in PARTS[targets])]
        if not found:
            raise ValueError(f"no block here is known as {targets}: name linear layers; there are {', '.join(places)}")
        return found
    wanted = [target.strip() for target in targets.split(",")]
    leaves = [place.rpartition(".")[2] for place in places]
    absent = sorted(set(wanted) - set(leaves))
    if absent:
        raise ValueError(f"no linear layer is called {', '.join(absent)}; there are {', '.join(leaves)}")
    return [place for place, leaf in zip(places, leaves, strict=True) if leaf in wanted]


def adaptable(model: nn.Module, place: str) -> LoraLinear:
    """The layer at `place`, made one that can carry adapters. Raises ValueError where there is no linear layer."""
    try:
        found = model.get_submodule(place)
    except AttributeError:
        found = None
    if isinstance(found, nn.Linear):
        parent, _, leaf = place.rpartition(".")
        found = LoraLinear(found)
        setattr(model.get_submodule(parent), leaf, found)
    if not isinstance(found, LoraLinear):
        raise ValueError(f"{type(model).__name__} has no linear layer {place}")
    return found
