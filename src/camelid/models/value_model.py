"""A value network of its own, begun at a reward model: InstructGPT's critic (Ouyang et al. 2022, arXiv:2203.02155,
appendix C.4). At the start its value of a whole conversation is that conversation's standardised score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camelid.models.adapter_config import is_adapter
from camelid.models.batch import Batch, Row, make_batches
from camelid.models.checkpointing import load_state, save_state
from camelid.models.compute import Compute, choose_compute
from camelid.models.losses import Sums, read_at_once
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings, Updater
from camelid.models.outputs import Loss, token_values
from camelid.models.reward_model import load_scoring_network
from camelid.models.trained import prepare_training, trained_parameters
from camelid.models.trunk import Trunk


class ValueModel:
    """Values the state before each trained token."""

    def __init__(self, model: Any, compute: Compute, settings: ModelSettings, optimizer: OptimizerSettings):
        self.model = model.eval()
        self.compute = compute
        self.settings = settings
        self.trunk = Trunk(model.base_model, compute)
        self.updater = Updater(trained_parameters(model), optimizer)

    @classmethod
    def begin(cls, path: Path, settings: ModelSettings, optimizer: OptimizerSettings, *, seed: int) -> ValueModel:
        """A network of the reward model at `path`, with adapters or full weights as the policy.

        Raises ValueError for an adapter folder: the merged model beside it stands for it.
        """
        if is_adapter(path):
            raise ValueError(f"{path} is an adapter: give the merged reward model, which its stage leaves in model/")
        compute = choose_compute(settings.precision)
        model, _ = load_scoring_network(path, compute, compute.dtype if settings.lora_rank else torch.float32)
        notes = getattr(model.config, "camelid", {})
        mean, std = float(notes.get("score_mean", 0.0)), float(notes.get("score_std", 1.0))
        weight = model.score.weight.data.float()
        prepare_training(model, settings.model_copy(update={"save_adapter": False}), seed)
        model.score = nn.Linear(weight.shape[1], 1).to(compute.device)
        model.score.weight.data.copy_(weight / std)
        nn.init.constant_(model.score.bias, -mean / std)
        return cls(model, compute, settings, optimizer)

    @torch.no_grad()
    def values(self, rows: Sequence[Row]) -> list[Tensor]:
        """Of the state before each row's trained tokens, aligned with its ids: (T,) each, zero elsewhere."""
        found: dict[int, Tensor] = {}
        for batch in self._batches(rows):
            found.update(batch.unpack(self._values(batch)))
        return [found[i] for i in range(len(rows))]

    def forward_backward(self, rows: Sequence[Row], loss: Callable[[Batch, Tensor], Loss]) -> dict[str, float]:
        """Add the gradient of the summed loss over all rows; `loss` gets values (1, T). Returns the logged means."""
        totals: dict[str, float] = {}
        found = []
        for batch in self._batches(rows):
            result = loss(batch, self._values(batch))
            result.sum.backward()
            found.append(Sums(batch.rows, {"loss": result.sum, "count": result.count} | result.logs))
        for numbers in read_at_once(found):
            for name, number in numbers.items():
                totals[name] = totals.get(name, 0.0) + number
        count = totals.pop("count")
        return {name: value / count for name, value in totals.items() if name != "loss"}

    def step(self, learning_rate: float, count: float) -> None:
        """One optimizer update with the gradients divided by `count`."""
        self.updater.step(learning_rate, count)

    def save_state(self, folder: Path) -> None:
        """Everything that training changes, exactly."""
        save_state(folder, "value-model", self.updater.state(), {})

    def load_state(self, folder: Path) -> None:
        """Put back what `save_state` wrote."""
        self.updater.restore(load_state(folder, "value-model")[0])

    def _batches(self, rows: Sequence[Row]) -> list[Batch]:
        return make_batches([[row] for row in rows], self.settings.micro_batch_tokens, self.compute.device)

    def _values(self, batch: Batch) -> Tensor:
        return token_values(batch, self.trunk.hidden(batch), self.model.score, self.compute)
