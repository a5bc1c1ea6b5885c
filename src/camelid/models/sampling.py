"""How completions are drawn, and what one is."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class Sampling(BaseModel):
    """How completions are drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    temperature: float = Field(default=1.0, ge=0.0)
    """Logits are divided by this; 0 takes the likeliest token."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Draw from the smallest set of tokens that has this share of the probability."""
    top_k: int = Field(default=0, ge=0)
    """Draw from so many of the likeliest tokens; 0 for all."""
    repetition_penalty: float = Field(default=1.0, gt=0.0)
    """Logits of tokens that the prompt or the completion has are divided by this, negative ones multiplied."""
    max_new_tokens: int = Field(default=64, ge=1)
    """A completion without end of turn is cut here."""
    min_new_tokens: int = Field(default=0, ge=0)
    """No end of turn is drawn before so many tokens."""
    model_logprobs: bool = False
    """Note each token's log-probability under the model itself as well: temperature 1, all tokens."""
    batch_rows: int = Field(default=256, ge=1)
    """Completions drawn side by side; bounds the cache."""

    @property
    def changes_distribution(self) -> bool:
        """Whether anything but the temperature stands between the model's distribution and what is drawn from."""
        return self.top_p < 1 or self.top_k > 0 or self.repetition_penalty != 1 or self.min_new_tokens > 0


class Sample(NamedTuple):
    """One completion as it was drawn."""

    ids: list[int]
    """Completion tokens, the end of turn included where there is one."""
    logprobs: list[float]
    """Of each token under the distribution that it was drawn from; at temperature 0, that of temperature 1."""
    finished: bool
    """True if it ended with an end of turn, False if it was cut (by `max_new_tokens`, or by `enough`)."""
    model_logprobs: list[float] | None = None
    """Of each token under the model itself, where `Sampling.model_logprobs` asks for them."""
