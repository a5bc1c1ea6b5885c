"""What a chat completion's body says: the text, who wrote it, tokens used, how likely the first token was."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple


class Usage(NamedTuple):
    """Tokens of one request, by the server's count."""

    prompt_tokens: int
    completion_tokens: int


class Completion(NamedTuple):
    """The first choice of a completion."""

    text: str
    model: str
    """The model that answered, by the server's word."""
    finish_reason: str
    usage: Usage | None
    first_token: dict[str, float] | None
    """Log-probabilities of the likeliest first tokens; None unless asked for and sent."""


def read_completion(body: str) -> Completion | None:
    """None where the body is no chat completion. No content is an empty text."""
    try:
        value = json.loads(body)
        choice = value["choices"][0]
        said = choice["message"].get("content"), value.get("model"), choice.get("finish_reason")
        # A lone surrogate, "\ud800" in JSON, would make a str that no file can hold.
        text, model, reason = ((part or "").encode("utf-8", "replace").decode() for part in said)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    return Completion(text, model, reason, _usage(value.get("usage")), _first_token(choice.get("logprobs")))


def usage(body: str) -> Usage | None:
    """Tokens used, of any kind of answer; None where the server does not say."""
    try:
        return _usage(json.loads(body).get("usage"))
    except (ValueError, AttributeError):
        return None


def _usage(value: Any) -> Usage | None:
    counts = [value.get(name) for name in Usage._fields] if isinstance(value, dict) else []
    whole = [n for n in counts if isinstance(n, int) and not isinstance(n, bool) and n >= 0]
    return Usage(*whole) if len(whole) == 2 else None


def _first_token(value: Any) -> dict[str, float] | None:
    """Some servers list the chosen token among the likeliest, some apart."""
    try:
        first = value["content"][0]
        listed = [*first.get("top_logprobs", ()), first]
        pairs = {str(item["token"]): float(item["logprob"]) for item in listed}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
    # Rounding can leave a hair above 0; anything more is no log-probability.
    return pairs if not any(math.isnan(x) or x > 0.01 for x in pairs.values()) else None
