"""One optimizer update: gradients of summed losses divided by their count, clipped, AdamW."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from camelid.models.checkpointing import optimizer_tensors, restore_optimizer


class OptimizerSettings(BaseModel):
    """AdamW as LLaMA-2 set it (arXiv:2307.09288, section 3.2.2): betas .9/.95, eps 1e-5, weight decay .1, clip 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    beta1: float = 0.9
    """Decay of the first moment."""
    beta2: float = 0.95
    """Decay of the second moment."""
    eps: float = 1e-5
    """Added to the root of the second moment."""
    weight_decay: float = 0.1
    """Decoupled weight decay; norms and biases are exempt."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""


class Updater:
    """AdamW over named parameters, and its exact state."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], settings: OptimizerSettings):
        named = dict(parameters)
        if not named:
            raise ValueError("no parameter to train: with LoRA, `lora_first_layer` must be below the number of layers")
        self.named = named
        self.max_grad_norm = settings.max_grad_norm
        decayed = [p for p in named.values() if p.ndim >= 2]
        plain = [p for p in named.values() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=0.0,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            fused=True,  # one pass over each weight, its gradient and moments
        )

    def step(self, learning_rate: float, count: float) -> float:
        """`clip`, then `update`. Returns the norm before clipping."""
        norm = self.clip(count)
        self.update(learning_rate)
        return norm

    def clip(self, count: float) -> float:
        """Divide the accumulated gradients by `count` and clip them. Returns their norm before clipping.

        Raises FloatingPointError on a gradient that is not finite.
        """
        gradients = [p.grad for p in self.named.values() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients) / count
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"gradient norm is {norm.item()}; lower the learning rate or look for a row that gives an infinite loss"
            )
        # Both at once, since a gradient of the model's size is read and written for it.
        torch._foreach_mul_(gradients, torch.clamp(self.max_grad_norm / (norm + 1e-6), max=1.0) / count)
        return norm.item()

    def update(self, learning_rate: float) -> None:
        """One step of AdamW with the gradients as they are; clears them, and keeps their memory for the next."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        # The fused operator changes weights without a word to autograd; `master_weights.in_format` must notice.
        increment_version(self.named.values())
        self.optimizer.zero_grad(set_to_none=False)

    def state(self) -> dict[str, Tensor]:
        """Parameters and moments by name."""
        parameters = {f"parameter.{name}": p for name, p in self.named.items()}
        return parameters | {f"optimizer.{name}": t for name, t in optimizer_tensors(self.optimizer).items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` returned."""
        with torch.no_grad():
            for name, parameter in self.named.items():
                parameter.copy_(state[f"parameter.{name}"])
        prefix = "optimizer."
        restore_optimizer(self.optimizer, {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)})
