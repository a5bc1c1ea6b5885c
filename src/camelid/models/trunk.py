"""The transformer under a policy or a reward model, fed with packed batches."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from camelid.models.batch import Batch
from camelid.models.compute import Compute


class Trunk:
    """A transformers decoder without its head, fed with packed batches."""

    def __init__(self, model: nn.Module, compute: Compute):
        self.model = model
        self.compute = compute

    def hidden(self, batch: Batch) -> Tensor:
        """Final hidden states (1, T, H) of a packed batch, as if no row shared anything with another."""
        branches = batch.branches
        if branches is None:
            return self.forward(batch.ids, batch.positions, segment_lengths=batch.segment_lengths)
        states = self.forward(branches.ids, branches.positions, tree=branches.tree)
        return states[0].index_select(0, branches.places)[None]

    def forward(self, ids: Tensor, positions: Tensor, **layout: Any) -> Tensor:
        """Final hidden states (1, T, H) of tokens (1, T); `layout` tells the attention how they see each other."""
        with self.autocast():
            output = self.model(input_ids=ids, position_ids=positions, use_cache=False, **layout)
        return output.last_hidden_state

    def autocast(self) -> AbstractContextManager[Any]:
        """Full fine-tuning keeps float32 weights and multiplies in the compute format."""
        weights = next(self.model.parameters()).dtype
        if weights == self.compute.dtype:
            return nullcontext()
        return torch.autocast(self.compute.device.type, self.compute.dtype)
