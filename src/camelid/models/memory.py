"""What training keeps in memory, tensor by tensor, by a model's shape. Imports no torch.

Counted from what transformers' Llama and our attention save for the backward pass, and held against the tensors that
were alive in real steps (`benchmarks/memory.py`). Left out: padding of tiles, vectors of norms and positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camelid.models.shape import Shape
    from camelid.models.trunk import ModelSettings

MOMENT_BYTES = 8
"""AdamW's two moments of a trained weight, float32."""
GRADIENT_BYTES = 4
WRITTEN_OUT_BELOW = 256
"""Longest segment, in tokens, whose attention scores are written out on a CPU (`attention.PLAIN_BELOW`)."""
LOGIT_ROWS, LOGIT_ROWS_GPU = 256, 1024
"""Rows of logits alive at once in training: `functional.logprobs` works in chunks of so many. A head that trains has
its gradient read and written for each chunk: 1 GB of a vocabulary of 128,256, so that a GPU wants fewer chunks. Chosen,
not measured."""


def head_rows(on_cpu: bool) -> int:
    """Rows of logits alive at once in training."""
    return LOGIT_ROWS if on_cpu else LOGIT_ROWS_GPU


@dataclass(frozen=True)
class Training:
    """One way of training a model: enough to tell its memory."""

    shape: Shape
    number_bytes: int
    """Size of a number in matrix products."""
    lora_rank: int
    first_layer: int
    """The first layer that trains."""
    on_cpu: bool = True
    lora_targets: str = "all"

    @classmethod
    def of(cls, shape: Shape, model: ModelSettings, number_bytes: int, *, on_cpu: bool = True) -> Training:
        first = min(model.lora_first_layer, shape.layers) if model.lora_rank else 0
        return cls(shape, number_bytes, model.lora_rank, first, on_cpu, model.lora_targets)

    @property
    def is_full(self) -> bool:
        return self.lora_rank == 0

    @property
    def layers(self) -> int:
        """Layers whose activations the backward pass needs."""
        return self.shape.layers - self.first_layer

    @property
    def trained(self) -> int:
        """Numbers that train."""
        if self.is_full:
            return self.shape.parameters
        return self.shape.lora_parameters(self.lora_rank, self.first_layer, self.lora_targets)

    @property
    def weight_bytes(self) -> float:
        """Weights and adapters; weights that train are float32, and so are adapters."""
        if self.is_full:
            return 4 * self.shape.parameters
        return self.number_bytes * self.shape.parameters + 4 * self.trained

    @property
    def optimizer_bytes(self) -> float:
        """Gradients and moments, from the end of the first step on."""
        return (GRADIENT_BYTES + MOMENT_BYTES) * self.trained

    @property
    def copied_bytes(self) -> float:
        """Autocast's copies of float32 weights in the products' format, kept until the backward pass has used them."""
        cast = self.is_full and self.number_bytes < 4
        return self.number_bytes * self.shape.trunk_parameters if cast else 0.0

    def layer_bytes(self, length: float) -> float:
        """What a layer keeps of a token for the backward pass, in segments of `length` tokens.

        The norms: what they normalise and, to train their weights, the normalised states, in float32. The inputs of
        linear maps: under autocast each of five has a copy of its own. Attention: queries, keys, values, weights or
        what a kernel keeps instead, its output. The gated MLP: gate, its activation, up, their product.
        """
        s, b = self.shape, self.number_bytes
        queries, keys = s.heads * s.head_width, s.kv_heads * s.head_width
        norms = 2 * s.hidden * 4 * (2 if self.is_full else 1)
        inputs = (5 if self.is_full and b < 4 else 2) * s.hidden * b
        mlp = 4 * s.intermediate * b
        adapters = 0 if self.is_full else 7 * self.lora_rank * b
        return norms + inputs + self._attention_bytes(queries, keys, length) + mlp + adapters

    def _attention_bytes(self, queries: int, keys: int, length: float) -> float:
        b = self.number_bytes
        if self.on_cpu and length <= WRITTEN_OUT_BELOW:
            return (2 * queries + 2 * keys + self.shape.heads * length) * b
        # The CPU's kernel works in float32, but for autocast, which takes it back.
        inside = 4 if self.on_cpu and not self.is_full else b
        return (2 * queries + 2 * keys) * inside + queries * b + 4 * self.shape.heads

    @property
    def input_bytes(self) -> float:
        """What a layer that is computed again keeps of a token: its input, float32 in training of full weights."""
        return self.shape.hidden * (4 if self.is_full else self.number_bytes)

    def kept_bytes(self, tokens: float, length: float, recomputed: int) -> float:
        """Activations at their peak, `recomputed` layers computed again: what is kept, and one layer at work."""
        layer, number = self.layer_bytes(length), min(recomputed, self.layers)
        return tokens * ((self.layers - number + 1) * layer + number * self.input_bytes)

    def layers_to_recompute(self, tokens: float, length: float, room: float) -> int:
        """The fewest layers that have to be computed again for the activations of `tokens` to fit `room` bytes."""
        over = self.kept_bytes(tokens, length, 0) - room
        if over <= 0:
            return 0
        saved = tokens * (self.layer_bytes(length) - self.input_bytes)
        return min(math.ceil(over / saved), self.layers)

    @property
    def head_bytes(self) -> float:
        """Around the logits of a chunk: the logits in both formats and their exponentials or gradients.

        A head that trains also has its gradient, summed and of the chunk, and a copy in the products' format.
        """
        logits = head_rows(self.on_cpu) * self.shape.vocabulary * (8 + self.number_bytes)
        return logits + (self.shape.head_parameters * (8 + self.number_bytes) if self.is_full else 0)
