"""A smaller model out of a larger one: some of its layers, in their order. What is left writes nonsense until healed.

A residual network loses little with a layer from its middle and much with the first or last ones (Men et al. 2024,
arXiv:2403.03853; Gromov et al. 2024, arXiv:2403.17887), so `ends` cuts a block out of the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

Cut = Literal["spread", "first", "ends"]


def kept_layers(num_layers: int, keep: int, cut: Cut) -> list[int]:
    """Which of `num_layers` to keep. Raises ValueError unless 1 <= keep <= num_layers.

    `spread`: the first, the last, and `keep` - 2 at even distances between. `first`: from the bottom. `ends`: as many
    from the bottom as from the top, one more from the bottom where `keep` is odd.
    """
    if not 1 <= keep <= num_layers:
        raise ValueError(f"keep {keep} of {num_layers} layers: need from 1 to {num_layers}")
    if cut == "first" or keep == 1:
        return list(range(keep))
    if cut == "ends":
        bottom = (keep + 1) // 2
        return [*range(bottom), *range(num_layers - keep + bottom, num_layers)]
    return [round(i * (num_layers - 1) / (keep - 1)) for i in range(keep)]


def cut_layers(model: Any, kept: Sequence[int]) -> None:
    """Keep the layers `kept` of a decoder, its configuration included."""
    layers = model.base_model.layers
    chosen = [layers[i] for i in kept]
    for place, layer in enumerate(chosen):
        layer.self_attn.layer_idx = place  # the key-value cache finds its place by this
    model.base_model.layers = nn.ModuleList(chosen)
    model.config.num_hidden_layers = len(chosen)
    kinds = getattr(model.config, "layer_types", None)
    if kinds is not None:
        model.config.layer_types = [kinds[i] for i in kept]
