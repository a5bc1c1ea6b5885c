"""How big a transformer is, read off its config.json: parameters, arithmetic, cache. Imports no torch.

Counts the plain decoder: attention with grouped keys and a gated MLP. Norms and biases, below 0.1% of the weights, are
left out, and so are mixtures of experts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from camelid.models.loading import weights_folder

FILE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
ATTENTION, MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
"""Names of a layer's linear maps."""
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


class Shape(NamedTuple):
    """The sizes of a decoder's matrices."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    has_head: bool
    """Whether an output head stands apart from the embedding; tied heads and reward models have none."""
    file_bytes: int
    """Size of a number in the model's file."""

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """The shape of a model folder. Raises ValueError naming what its config.json does not say."""
        folder = weights_folder(folder)
        return cls.of(json.loads((folder / "config.json").read_text()), str(folder))

    @classmethod
    def of(cls, config: Mapping[str, Any], name: str) -> Shape:
        """The shape that a config.json tells. Raises ValueError, with the model's `name`, for what it does not tell."""
        config = config.get("text_config", config)
        if any(config.get(key) for key in EXPERTS):
            raise ValueError(f"{name} is a mixture of experts, whose size and time are not known here")
        try:
            hidden, heads = config["hidden_size"], config["num_attention_heads"]
            return cls(
                hidden=hidden,
                intermediate=config["intermediate_size"],
                layers=config["num_hidden_layers"],
                heads=heads,
                kv_heads=config.get("num_key_value_heads") or heads,
                head_width=config.get("head_dim") or hidden // heads,
                vocabulary=config["vocab_size"],
                has_head=not config.get("tie_word_embeddings", False),
                file_bytes=FILE_BYTES.get(
                    str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch."), 4
                ),
            )
        except KeyError as missing:
            raise ValueError(f"{name}: config.json has no {missing}, so its size cannot be told") from None

    def as_reward_model(self, num_layers: int | None) -> Shape:
        """The first layers with a scalar head, which is too small to count."""
        return self._replace(layers=num_layers or self.layers, has_head=False)

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of a layer's linear maps."""
        queries, keys = self.heads * self.head_width, self.kv_heads * self.head_width
        attention = [(self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden)]
        mlp = [(self.hidden, self.intermediate)] * 2 + [(self.intermediate, self.hidden)]
        return attention + mlp

    @property
    def layer_parameters(self) -> int:
        return sum(inputs * outputs for inputs, outputs in self.matrices)

    @property
    def trunk_parameters(self) -> int:
        """Weights that every token is multiplied with, the head left out."""
        return self.layers * self.layer_parameters

    @property
    def head_parameters(self) -> int:
        """Weights that turn a hidden state into logits; the embedding has as many."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        return self.trunk_parameters + self.head_parameters * (2 if self.has_head else 1)

    def lora_parameters(self, rank: int, first_layer: int, targets: str = "all") -> int:
        """Weights of the adapters on the linear maps `targets` of the layers from `first_layer` on."""
        sizes = dict(zip(ATTENTION + MLP, map(sum, self.matrices), strict=True))
        parts = {"all": ATTENTION + MLP, "attention": ATTENTION, "mlp": MLP}
        names = parts.get(targets) or [name.strip() for name in targets.split(",")]
        return max(self.layers - first_layer, 0) * rank * sum(sizes.get(name, 0) for name in names)

    @property
    def cached_numbers(self) -> int:
        """Keys and values that a token leaves in the cache."""
        return self.layers * 2 * self.kv_heads * self.head_width
