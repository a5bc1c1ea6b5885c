"""Held-out prompts of an RL run: how well the policy does where nothing is learnt, the best model so far, and patience.

The same prompts with the same random numbers each time, scored by the sources alone (no scale that moves, no penalty).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camelid.models.averaging import Weights, load_weights, put_back, save_weights, trained_weights
from camelid.models.policy import Policy
from camelid.models.sampling import Sampling
from camelid.runs import derived_seed
from camelid.train.rollout import complete
from camelid.train.scoring import Scorer
from camelid.types import Prompt


@dataclass
class Best:
    """The best look so far."""

    score: float
    iteration: int
    weights: Weights


class HeldOut:
    """Looks at a policy every `every` iterations and keeps the best; out of patience after so many looks in a row
    without a better score (0: never)."""

    def __init__(self, prompts: Sequence[Prompt], sampling: Sampling, *, every: int, patience: int, seed: int):
        self.prompts = prompts
        self.sampling = sampling
        self.every = every
        self.patience = patience
        self.seed = derived_seed(seed, "held out")
        self.best: Best | None = None
        self.looks_since_best = 0

    def due(self, iteration: int) -> bool:
        """Whether to look after so many iterations."""
        return bool(self.prompts) and iteration % self.every == 0

    def look(
        self, policy: Policy, scorer: Scorer, iteration: int, outgoing: AbstractContextManager[None]
    ) -> dict[str, float]:
        """Score the model that would be saved now (the policy inside `outgoing`); keep it where it is the best."""
        with outgoing:
            _, _, completions = complete(policy, self.prompts, self.sampling, seed=self.seed)
            score = scorer.measure(self.prompts, completions)[0].mean().item()
            if self.best is None or score > self.best.score:
                self.best, self.looks_since_best = Best(score, iteration, trained_weights(policy)), 0
            else:
                self.looks_since_best += 1
        finished = sum(c.finished for c in completions) / len(completions)
        return {"held_out_score": score, "held_out_finished": finished}

    @property
    def out_of_patience(self) -> bool:
        return 0 < self.patience <= self.looks_since_best

    def finish(self, policy: Policy) -> dict[str, float]:
        """Give the policy the best weights; which these are, for the stage's metrics. Nothing without prompts."""
        if self.best is None:
            return {}
        put_back(policy, self.best.weights)
        return {"best_iteration": self.best.iteration, "best_held_out_score": self.best.score}

    def save(self, folder: Path) -> dict[str, Any] | None:
        """Leave the weights in `folder`; returns the numbers."""
        if self.best is None:
            return None
        save_weights(folder / "best.safetensors", self.best.weights)
        return {"score": self.best.score, "iteration": self.best.iteration, "since": self.looks_since_best}

    def load(self, folder: Path, saved: dict[str, Any] | None, policy: Policy) -> None:
        """Put back what `save` left and returned."""
        if saved is not None:
            weights = load_weights(folder / "best.safetensors", trained_weights(policy))
            self.best = Best(saved["score"], saved["iteration"], weights)
            self.looks_since_best = saved["since"]
