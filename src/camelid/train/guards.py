"""Guards: numbers of an iteration that say when optimising a score has stopped to make a better model.

Each looks at one number in the iteration's metrics, has one limit (null: off), and warns or stops. It looks before the
iteration's updates, so the model that a stop leaves is the one whose number was out of bounds, and no step further.
Every trip is a row of guards.jsonl and a line on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from camelid.functional.divergence import divergence
from camelid.functional.statistics import correlation
from camelid.runs import Run

Action = Literal["warn", "stop"]


class Limit(BaseModel):
    """One guard."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    limit: float | None = None
    """Where the guard trips; null: it does not look."""
    action: Action = "warn"
    """warn: a row and a line; stop: the stage ends with the model as it is then."""


class GuardSettings(BaseModel):
    """Limits to what optimising a score may do."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    length_correlation: Limit = Limit()
    """Pearson's correlation of score with length over the batch, above this: length is what pays."""
    kl: Limit = Limit()
    """KL to the reference in nats a completion, above this: the budget is spent."""
    entropy: Limit = Limit()
    """Entropy in nats a token, below this: the policy says one thing only."""
    explained_variance: Limit = Limit()
    """Explained variance of the values, below this for `value_iterations` iterations: advantages are noise."""
    value_iterations: int = Field(default=10, ge=1)
    """Iterations in a row."""
    divergence: Limit = Limit()
    """By how much the score rose while that of the input alarm_model fell, over `divergence_window` iterations."""
    divergence_window: int = Field(default=20, ge=2)
    """Iterations."""
    engine_kl: Limit = Limit(limit=0.01)
    """KL from engine to trainer in nats a token, above this: what draws is not what trains. 0.01 warns."""


BELOW = ("entropy", "explained_variance")
"""Guards that trip below their limit; the others trip above."""
MEND = {
    "length_correlation": "set scoring.length_penalty, or standardise the reward model's bias to length away",
    "kl": "raise kl_coef, or lower learning_rate",
    "entropy": "raise kl_coef, or lower learning_rate or ppo_epochs",
    "explained_variance": "raise value_learning_rate or value_coef",
    "divergence": "the reward model is being gamed: stop here, or retrain it on these samples",
    "engine_kl": "set importance_limit=2, or sample with engine.kind=own",
}


@dataclass
class Guards:
    """The guards of a run, and what they remember of its iterations."""

    settings: GuardSettings
    scores: list[float] = field(default_factory=list)
    alarms: list[float] = field(default_factory=list)
    """Of the last `divergence_window` iterations."""
    low_values: int = 0
    """Iterations in a row with an explained variance below the limit."""

    def look(self, run: Run, iteration: int, metrics: dict[str, float]) -> str | None:
        """Add `divergence` to an iteration's metrics once its window is full, record what trips, and return the first
        guard that says stop. A number that is not among the metrics, or not defined, trips nothing."""
        if "alarm_score" in metrics:
            self._compare(metrics)
        stop = None
        for name, limit in self._tripped(metrics):
            value = metrics[name]
            row = {"iteration": iteration, "guard": name, "value": value, "limit": limit.limit, "action": limit.action}
            run.append("guards.jsonl", [row])
            side = "below" if name in BELOW else "above"
            print(
                f"iteration {iteration}: {name} is {value:.3g}, {side} guards.{name}.limit={limit.limit:g}"
                f"{' (stop)' if limit.action == 'stop' else ''}: {MEND[name]}",
                file=sys.stderr,
            )
            if limit.action == "stop":
                stop = stop or name
        return stop

    def state(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "settings"}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.scores, self.alarms, self.low_values = list(state["scores"]), list(state["alarms"]), state["low_values"]

    def _compare(self, metrics: dict[str, float]) -> None:
        window = self.settings.divergence_window
        self.scores = [*self.scores, metrics["score"]][-window:]
        self.alarms = [*self.alarms, metrics["alarm_score"]][-window:]
        if len(self.scores) == window:
            metrics["divergence"] = divergence(self.scores, self.alarms)

    def _tripped(self, metrics: Mapping[str, float]) -> Sequence[tuple[str, Limit]]:
        found = []
        for name in MEND:
            limit: Limit = getattr(self.settings, name)
            if limit.limit is None or name not in metrics:
                continue
            # A comparison with NaN, as of an engine that gives no log-probabilities, is False.
            out = metrics[name] < limit.limit if name in BELOW else metrics[name] > limit.limit
            if name == "explained_variance":
                self.low_values = self.low_values + 1 if out else 0
                out = self.low_values >= self.settings.value_iterations
            if out:
                found.append((name, limit))
        return found


def length_correlation(scores: Tensor, lengths: Tensor) -> dict[str, float]:
    """Pearson's correlation of the scores (N,) with the lengths (N,) as a metric; none where it is not defined."""
    found = correlation(scores.tolist(), lengths.tolist())
    return {} if found is None else {"length_correlation": found.value}
