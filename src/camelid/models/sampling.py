"""How completions are drawn, and what one is."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class Sampling(BaseModel):
    """How completions are drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    temperature: float = Field(default=1.0, ge=0.0)
    """Logits are divided by this; 0 takes the likeliest token."""
    max_new_tokens: int = Field(default=64, ge=1)
    """A completion without end of turn is cut here."""
    batch_rows: int = Field(default=256, ge=1)
    """Completions drawn side by side; bounds the cache."""


class Sample(NamedTuple):
    """One completion as it was drawn."""

    ids: list[int]
    """Completion tokens, the end of turn included where there is one."""
    logprobs: list[float]
    """Of each token under the distribution that it was drawn from (temperature applied; at 0, temperature 1)."""
    finished: bool
    """True if it ended with an end of turn, False if it was cut (by `max_new_tokens`, or by `enough`)."""
