"""Copies of the weights that a policy trains: as they were at some moment, and their moving average.

With adapters these are the adapters' factors A and B, each averaged by itself: their product is near the average of the
products where updates are small, and not it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from camelid.models.checkpointing import save_tensors
from camelid.models.policy import Policy

Weights = dict[str, Tensor]
"""Weights that train, by name."""


def trained_weights(policy: Policy) -> Weights:
    """A copy of what trains, on its device."""
    return {name: parameter.detach().clone() for name, parameter in _trained(policy).items()}


def put_back(policy: Policy, weights: Mapping[str, Tensor]) -> None:
    """Give the policy these weights, bit by bit. Moments of the optimizer stay as they are."""
    with torch.no_grad():
        for name, parameter in _trained(policy).items():
            parameter.copy_(weights[name])
    policy.updates += 1


class MovingAverage:
    """average <- decay average + (1 - decay) weights, after every optimizer step; float32, from the start's weights.

    Ouyang et al. 2022 (arXiv:2203.02155, appendix C.4) take 0.992; of what (steps or iterations) they do not say.
    """

    def __init__(self, policy: Policy, decay: float):
        self.policy = policy
        self.decay = decay
        self.weights = {name: weight.float() for name, weight in trained_weights(policy).items()}

    def update(self) -> None:
        with torch.no_grad():
            for name, parameter in _trained(self.policy).items():
                self.weights[name].lerp_(parameter.float(), 1 - self.decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the policy is the average; its own weights come back."""
        own = trained_weights(self.policy)
        put_back(self.policy, self.weights)
        try:
            yield
        finally:
            put_back(self.policy, own)


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    save_tensors(path, weights)


def load_weights(path: Path, like: Mapping[str, Tensor]) -> Weights:
    """What `save_weights` wrote, each on the device of its namesake in `like`."""
    found = load_file(path)
    return {name: found[name].to(weight.device) for name, weight in like.items()}


def _trained(policy: Policy) -> dict[str, nn.Parameter]:
    if policy.updater is None:
        raise ValueError("nothing of this policy trains; use Policy.load_for_training")
    return policy.updater.named
