"""What may be asked of a language model in an evaluation, and what it answers. Imports no torch.

Three kinds, as in the lm-evaluation-harness: the log-likelihood of a continuation, that of a whole text, and text
generated until a stop. `models/answering.py` answers them.
"""

from __future__ import annotations

from typing import NamedTuple

MOST_ROWS = 256
CACHE_TOKENS = 2**15
"""Tokens of prompts and answers in the cache at once, which bounds the rows written side by side: for SmolLM2 1.5 GB in
float32. 256 rows behind eight worked examples would take 18 GB."""


class Likelihood(NamedTuple):
    """How likely is `continuation` after `context`?"""

    context: str
    continuation: str

    def after(self, prefix: str) -> Likelihood:
        """The same question with `prefix` (a header, worked examples) in front."""
        return self._replace(context=prefix + self.context)


class Rolling(NamedTuple):
    """How likely is `text`, from its first token on? Longer texts than the model's context are read in windows."""

    text: str

    def after(self, prefix: str) -> Rolling:
        """Raises ValueError for a prefix: the likelihood of a whole text has nothing in front."""
        if prefix:
            raise ValueError("the likelihood of whole texts takes no worked examples; use --shots 0")
        return self


class Generate(NamedTuple):
    """What does the model write after `prompt`, until one of `stop` or the number of tokens?"""

    prompt: str
    stop: tuple[str, ...]
    max_new_tokens: int

    def after(self, prefix: str) -> Generate:
        return self._replace(prompt=prefix + self.prompt)


Request = Likelihood | Rolling | Generate


class Scored(NamedTuple):
    """Answer to `Likelihood` and `Rolling`."""

    logprob: float
    """Of all tokens together, in nats."""
    greedy: bool
    """Whether each token was the likeliest one."""
    num_tokens: int


class Written(NamedTuple):
    """Answer to `Generate`."""

    text: str
    """Without the stop."""
    finished: bool
    """False where it was cut at `max_new_tokens`."""
    num_tokens: int


Answer = Scored | Written


def rows_at_once(prompt_tokens: float, max_new_tokens: int) -> int:
    """How many answers are written side by side behind prompts of so many tokens."""
    return max(1, min(MOST_ROWS, CACHE_TOKENS // int(prompt_tokens + max_new_tokens)))
