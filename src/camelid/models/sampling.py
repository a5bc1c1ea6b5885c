"""How completions are drawn, and what one is. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from camelid.models.server import ServerSettings


class EngineSettings(BaseModel):
    """What draws."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["own", "vllm", "server"] = "own"
    """own: camelid's engine; vllm: vLLM in this process; server: `server` below."""
    weights: Literal["own", "packed", "int8"] = "own"
    """own: the trainer's own, nothing is copied; packed: a copy in the order in which a CPU's kernel reads them, for
    many rows; int8: a copy in eight bits, for a few rows on a CPU, such as a chat's. Copies are made anew after each
    update."""
    cache_gigabytes: float = Field(default=2.0, gt=0)
    """vllm: memory for keys and values."""
    sleep: bool = True
    """vllm on a GPU: give its memory back between two calls."""
    server: ServerSettings = ServerSettings()
    """server: where it is. Log-probabilities need one that has /completions, as vLLM, SGLang and llama.cpp have."""
    api: Literal["completions", "chat"] = "completions"
    """server: tokens in and, where it can, tokens out; or messages, for servers that have nothing else."""
    exchange: str = ""
    """server: a folder that it sees too, through which vLLM gets the weights after training; without one, completions
    of weights that have changed are an error."""


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
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """A completion ends where one of these has been written, across whatever tokens; it is part of what was drawn."""
    model_logprobs: bool = False
    """Note each token's log-probability under the model itself as well: temperature 1, all tokens."""
    batch_rows: int = Field(default=256, ge=1)
    """Completions drawn side by side; bounds the cache."""

    engine: EngineSettings = EngineSettings()
    """What draws: camelid itself, vLLM or a server."""

    @property
    def changes_distribution(self) -> bool:
        """Whether anything but the temperature stands between the model's distribution and what is drawn from."""
        return self.top_p < 1 or self.top_k > 0 or self.repetition_penalty != 1 or self.min_new_tokens > 0


class Sample(NamedTuple):
    """One completion as it was drawn."""

    ids: list[int]
    """Completion tokens, the end of turn included where there is one."""
    logprobs: list[float]
    """Of each token under the distribution that it was drawn from; at temperature 0, that of temperature 1. NaN where a
    server does not say."""
    finished: bool
    """True if it ended with an end of turn or a stop string, False if it was cut at `max_new_tokens`."""
    model_logprobs: list[float] | None = None
    """Of each token under the model itself, where `Sampling.model_logprobs` asks for them."""


def wrong_prompt(tokens: int, sampling: Sampling, context: int) -> str:
    """Why a prompt of so many tokens cannot be gone on with, or nothing."""
    if not tokens:
        return "has no token; render it with the chat format first"
    new = sampling.max_new_tokens
    if tokens + new > context:
        return (
            f"of {tokens} tokens leaves no room for {new} more in the context of {context}; lower max_new_tokens, or "
            f"drop the prompt"
        )
    return ""
