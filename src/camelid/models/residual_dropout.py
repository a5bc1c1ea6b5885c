"""Residual dropout in training: what a sublayer adds to the residual stream is dropped, more in higher layers (LIMA).

It acts where Vaswani et al. (2017, arXiv:1706.03762, section 5.4) put it: on the output of attention and of the MLP,
before it is added to the sublayer's input. Hooks on the layers' modules do it, so no model is subclassed and all stay
in eval mode; outside of `acting`, in held-out losses and wherever nothing trains, the network is what it always was.

Every number comes from a stream named by a row's seed, the layer and the sublayer: what a row loses depends neither on
the rows beside it nor on how often its forward pass is repeated, so any split of a batch gives the same gradient, and a
resumed run goes on as if undisturbed. Left out: dropout of attention weights and of embeddings, which LIMA has not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from camelid.functional.residual_dropout import drop, layer_probabilities, random_bits
from camelid.runs import derived_seed

ENDS = {
    frozenset({"input_layernorm", "post_attention_layernorm"}): ("self_attn", "mlp"),
    frozenset({"post_attention_layernorm", "post_feedforward_layernorm"}): (
        "post_attention_layernorm",
        "post_feedforward_layernorm",
    ),
    frozenset(
        {
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        }
    ): ("post_attention_layernorm", "post_feedforward_layernorm"),
}
"""By the norms of a decoder layer, the modules whose outputs are added to the residual stream: layers of the Llama kind
(Qwen, Mistral, SmolLM ...), of OLMo-2's and of Gemma's."""


class ResidualDropout:
    """Hooks on the layers of a decoder; they do nothing outside of `acting`."""

    def __init__(self, layers: nn.ModuleList, highest: float):
        self.probabilities = layer_probabilities(len(layers), highest)
        self._segments: list[tuple[int, int]] = []
        for number, layer in enumerate(layers):
            for place, module in enumerate(_ends(layer)):
                module.register_forward_hook(partial(self._hook, number, place))

    @contextmanager
    def acting(self, segment_lengths: Sequence[int], seeds: Sequence[int]) -> Iterator[None]:
        """Drop in forward passes over segments of these lengths, one seed each; open until after the backward pass."""
        self._segments = list(zip(segment_lengths, seeds, strict=True))
        try:
            yield
        finally:
            self._segments = []

    def _hook(self, number: int, place: int, module: nn.Module, inputs: Any, output: Any) -> Any:
        p = self.probabilities[number]
        if not self._segments or p == 0:
            return output
        if isinstance(output, tuple):  # attention returns its weights, too
            return self._drop(output[0], number, place, p), *output[1:]
        return self._drop(output, number, place, p)

    def _drop(self, added: Tensor, number: int, place: int, p: float) -> Tensor:
        """`added`: (1, T, H), what the sublayer would add."""
        width = added.shape[-1]
        bits = [
            random_bits(derived_seed(seed, number, place), (length, width), added.device)
            for length, seed in self._segments
        ]
        return drop(added, torch.cat(bits)[None], p)


def _ends(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The modules whose outputs a layer adds to the residual stream."""
    children = dict(layer.named_children())
    ends = ENDS.get(frozenset(name for name in children if name.endswith("norm")), ())
    if not ends or not {"self_attn", "mlp", *ends} <= children.keys():
        raise ValueError(
            f"residual dropout does not know where {type(layer).__name__} adds to the residual stream (it has "
            f"{', '.join(children)}); set residual_dropout=0, or take a model of the Llama kind"
        )
    return children[ends[0]], children[ends[1]]
