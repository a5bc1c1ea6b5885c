"""Frozen hidden states of a language model as features of texts: what a small judge is trained on.

The model is cut after its first layers, as a reward model may be: the middle of a small model knows as much of what a
text says as its end, at less cost. Texts are read plain, without a chat format. Left out: training the trunk; that is a
reward model.

    features = FrozenFeatures.load(path, num_layers=20).of(["Q: ...\\nA: ..."])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from camelid.models.batch import Row, make_batches
from camelid.models.compute import choose_compute
from camelid.models.loading import tokenizer_folder, weights_folder
from camelid.models.model_settings import ModelSettings
from camelid.models.pretrained import check_architecture, load_pretrained
from camelid.models.trunk import Trunk


class FrozenFeatures:
    """A language model's first layers and its tokenizer."""

    def __init__(self, trunk: Trunk, tokenizer, settings: ModelSettings, max_tokens: int):
        self.trunk = trunk
        self.tokenizer = tokenizer
        self.settings = settings
        self.max_tokens = max_tokens

    @classmethod
    def load(
        cls, path: Path, num_layers: int, settings: ModelSettings | None = None, *, max_tokens: int = 256
    ) -> FrozenFeatures:
        """The first `num_layers` of the model at `path`; texts are cut after `max_tokens`."""
        settings = settings or ModelSettings(micro_batch_tokens=2048)
        compute = choose_compute(settings.precision)
        config = AutoConfig.from_pretrained(weights_folder(path), trust_remote_code=False)
        if not 1 <= num_layers <= config.num_hidden_layers:
            raise ValueError(f"num_layers = {num_layers}, but the model has {config.num_hidden_layers} layers")
        config.num_hidden_layers = num_layers
        model = load_pretrained(AutoModelForCausalLM, path, compute, compute.dtype, config=config)
        check_architecture(model)
        model.requires_grad_(False)
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(path), trust_remote_code=False)
        return cls(Trunk(model.eval().base_model, compute), tokenizer, settings, max_tokens)

    @torch.no_grad()
    def of(self, texts: Sequence[str], tick: Callable[[int], None] = lambda rows: None) -> NDArray[np.float32]:
        """(N, 2H): the mean over a text's tokens, then the last token. Raises ValueError for a text of no tokens."""
        rows = [self._row(i, text) for i, text in enumerate(texts)]
        found: dict[int, torch.Tensor] = {}
        for batch in make_batches([[row] for row in rows], self.settings.micro_batch_tokens, self.trunk.compute.device):
            for index, hidden in batch.unpack(self.trunk.hidden(batch).float().cpu()):
                found[index] = torch.cat([hidden.mean(dim=0), hidden[-1]])
            tick(len(batch.rows))
        return torch.stack([found[i] for i in range(len(rows))]).numpy()

    def _row(self, index: int, text: str) -> Row:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"][: self.max_tokens]
        if not ids:
            raise ValueError(f"text {index + 1} of those to be read is empty; leave it out and count it")
        return Row(ids, [False] * len(ids))
