"""What training keeps in memory, tensor by tensor, by a model's shape. Imports no torch.

Counted from what transformers' Llama and our attention save for the backward pass, and held against the tensors that
were alive in real steps (`benchmarks/memory.py`). Left out: padding of tiles, vectors of norms and positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camelid.models.model_settings import ModelSettings
    from camelid.models.shape import Shape

MOMENT_BYTES = 8
"""AdamW's two moments of a trained weight, float32."""
GRADIENT_BYTES = 4
WEIGHTS_KEPT_BELOW = 256
"""Longest segment, in tokens, whose attention weights are kept on a CPU (`block_attention.KEPT_BELOW`)."""
WEIGHTS_LINE = 32
"""They are padded to a multiple (`block_attention.LINE`)."""
LOGIT_ROWS, LOGIT_ROWS_GPU = 256, 1024
"""Rows of a frozen head's logits alive at once outside of sampling (`functional.logprobs`, `chunk_tokens`). The second
is chosen, not measured."""
LOGIT_BLOCK = 2048
"""Tokens of the vocabulary whose logits of a head that trains are alive at once (`functional.logprobs.BLOCK`)."""
LOGITS_KEPT = 128 << 20
"""Bytes of a trained head's logits up to which they are kept besides (`functional.logprobs.KEPT_BYTES`)."""


def head_rows(on_cpu: bool) -> int:
    """Rows of a frozen head's logits alive at once in training."""
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
        """The float32 weights once more in the products' format (`master_weights.in_format`)."""
        cast = self.is_full and self.number_bytes < 4
        return self.number_bytes * (self.shape.trunk_parameters + self.shape.head_parameters) if cast else 0.0

    def layer_bytes(self, length: float) -> float:
        """What a layer keeps of a token for the backward pass, in segments of `length` tokens.

        The norms: what they normalise, float32 in training of full weights. What they answer, which linear maps read.
        Attention: queries, keys, values, its output, and weights or what a kernel keeps instead. The gated MLP: gate
        and up and, beside adapters, their product.
        """
        s, b = self.shape, self.number_bytes
        queries, keys = s.heads * s.head_width, s.kv_heads * s.head_width
        norms = 2 * (self.input_bytes + 4)
        inputs = 2 * s.hidden * b
        mlp = (2 if self.is_full else 3) * s.intermediate * b
        adapters = 0 if self.is_full else 7 * self.lora_rank * b
        return norms + inputs + self._attention_bytes(queries, keys, length) + mlp + adapters

    def _attention_bytes(self, queries: int, keys: int, length: float) -> float:
        b = self.number_bytes
        if not self.on_cpu:
            return (3 * queries + 2 * keys) * b + 4 * self.shape.heads
        kept = math.ceil(length / WEIGHTS_LINE) * WEIGHTS_LINE if length <= WEIGHTS_KEPT_BELOW else 0
        return (2 * queries + 2 * keys + self.shape.heads * kept) * b

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

    def head_bytes(self, rows: float) -> float:
        """Around the logits that are alive at once, in both formats, and their exponentials or gradients.

        A frozen head: all of the vocabulary for some rows. One that trains: a block of it for all of the `rows`.
        """
        if not self.is_full:
            return head_rows(self.on_cpu) * self.shape.vocabulary * (8 + self.number_bytes)
        kept = rows * self.shape.vocabulary * self.number_bytes
        return rows * LOGIT_BLOCK * (8 + self.number_bytes) + (kept if kept <= LOGITS_KEPT else 0)
