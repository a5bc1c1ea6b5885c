"""Weights that a policy samples with in place of its own: `sampling.engine.weights`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from camelid.models.int8_weights import int8_weights
from camelid.models.reordered import reorder
from camelid.models.sampling import Sampling
from camelid.models.stand_ins import Forwards, standing_in

if TYPE_CHECKING:
    from camelid.models.policy import Policy


class Copies:
    """Made when a policy first samples after a change, and kept until the next one."""

    def __init__(self) -> None:
        self.made: tuple[str, int, int] | None = None
        """The kind, the rows that it is for, and the policy's updates."""
        self.forwards: Forwards = {}

    def applied(self, policy: Policy, sampling: Sampling) -> AbstractContextManager[None]:
        """Inside, the policy's linear layers multiply with the copies that the settings ask for."""
        kind, rows = sampling.engine.weights, sampling.batch_rows
        if kind == "own":
            self.made, self.forwards = None, {}
            return nullcontext()
        if self.made != (kind, rows, policy.updates):
            self.forwards = {}  # the old ones go before the new ones come
            dtype = policy.compute.dtype
            self.forwards = int8_weights(policy.model, dtype) if kind == "int8" else reorder(policy.model, rows, dtype)
            self.made = kind, rows, policy.updates
        return standing_in(self.forwards)
